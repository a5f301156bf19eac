"""What is recorded and counted: /predictions/history, /metrics and /metrics/prometheus."""

import re
from typing import Any

from api_checks.client import Api
from api_checks.expectations import MARKER, expect, expect_equal, expect_refusal, expect_status


def test_prediction_is_in_the_history(api: Api) -> None:
    """A prediction is in the history under its id, with the inputs and outputs of the request."""
    sent = api.model.rows[1]
    reply = api.predict(sent)
    entries = api.json("/predictions/history?limit=1000")["predictions"]
    entry = next((entry for entry in entries if entry["prediction_id"] == reply["prediction_id"]), None)
    if entry is None:
        raise AssertionError("the prediction is missing")
    expect_equal("inputs", entry["inputs"], sent)
    expect(entry["latency_ms"] > 0, f"latency {entry['latency_ms']}")
    for key in api.model.reply_types:
        expect_equal(key, entry[key], reply[key])


def test_history_is_paged_newest_first(api: Api) -> None:
    """The history shows the newest first, in pages that follow each other, and holds at most 1000 predictions."""
    for values in api.model.rows:
        api.predict(values)
    page = api.json("/predictions/history?limit=1000")
    times = [entry["timestamp"] for entry in page["predictions"]]
    expect(times == sorted(times, reverse=True), "the predictions are not in the order of their times")
    expect(len(times) == page["total"] <= 1000, f"{len(times)} entries of a total of {page['total']}")
    for _ in range(3):  # another client may predict between the two pages
        two = [entry["prediction_id"] for entry in api.json("/predictions/history?limit=2")["predictions"]]
        second = [entry["prediction_id"] for entry in api.json("/predictions/history?limit=1&offset=1")["predictions"]]
        if two[1:] == second:
            return
    raise AssertionError(f"the second of {two} is not {second}")


def test_counters_count_every_request(api: Api) -> None:
    """The counters of predictions (also by version), requests and errors rise by at least what was sent."""
    before = api.json("/metrics")
    reply = [api.predict(api.model.example) for _ in range(3)].pop()
    version = reply["model_version"]
    api.post("/predict", [])
    after = api.json("/metrics")

    def growth(*path: str) -> int:
        def count(metrics: Any) -> int:
            for key in path:
                metrics = metrics.get(key, {})
            return metrics or 0

        return count(after) - count(before)

    for path, minimum in {
        ("predictions_total",): 3,
        ("predictions_by_version", version): 3,
        ("requests", "/predict", "200"): 3,
        ("requests_total",): 5,
        ("errors", "/predict", "422"): 1,
        ("errors_total",): 1,
    }.items():
        expect(growth(*path) >= minimum, f"{'.'.join(path)} rose by {growth(*path)}, not by {minimum}")
    latency = after["latency_ms"]
    expect(latency["mean"] > 0 and latency["p50"] <= latency["p95"] <= latency["p99"], f"latencies {latency}")
    expect(after["uptime_seconds"] > before["uptime_seconds"], "the uptime does not grow")
    expect_equal("model_version", after["model_version"], version)


def test_prometheus_text_has_the_same_counters(api: Api) -> None:
    """The Prometheus text has the names of the contract and the numbers of the JSON. /metrics is JSON unless
    the Accept header asks for text."""
    api.predict(api.model.example)
    for _ in range(3):  # another client may predict in between
        shown = api.json("/metrics")["predictions_total"]
        response = api.get("/metrics", headers={"Accept": "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"})
        expect(response.headers["content-type"].startswith("text/plain"), f"{response.headers['content-type']}")
        counted = r"^model_(?:predictions_total|predicted_number_count)\{[^}]*\} (\S+)$"
        counts = re.findall(counted, response.text, re.MULTILINE)
        if sum(map(float, counts)) == shown:
            break
    else:
        raise AssertionError(f"the text says {counts}, the JSON {shown}")
    text = expect_status(api.get("/metrics/prometheus"), 200).text
    for name in (
        "http_requests_total",
        "http_request_duration_seconds_bucket",
        "model_info",
        "model_reloads_total",
    ):
        expect(f"\n{name}{{" in text, f"{name} is missing")


def test_unknown_paths_share_one_counter(api: Api) -> None:
    """A path that doesn't exist is counted without its name, so that callers can't make the metrics grow."""
    expect_refusal(api.get(f"/{MARKER}"), 404)
    expect(MARKER not in api.get("/metrics/prometheus").text, "the path became a label")
    expect(MARKER not in api.get("/metrics").text, "the path became a key")
