"""Checks a running API from outside, over HTTP, against its contract. Knows nothing of the code behind it.

    python test_api.py                          http://localhost:8000; if nothing answers there, a server of its own
    python test_api.py --url http://host:8000   another one

pytest collects the same checks. They may be run against a server in use: they compare before and after, and assume
neither an empty history nor counters at zero.
"""

import argparse
import contextlib
import json
import math
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import cached_property
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

try:
    import requests
except ModuleNotFoundError as missing:
    sys.exit(f"test_api.py: {missing}. `. .venv/bin/activate` first, or `python run_pipeline.py`, which makes it")

FLOWERS = {
    "setosa": {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2},
    "versicolor": {"sepal_length": 5.9, "sepal_width": 2.8, "petal_length": 4.3, "petal_width": 1.3},
    "virginica": {"sepal_length": 6.7, "sepal_width": 3.1, "petal_length": 5.7, "petal_width": 2.3},
}
"""Typical ones, for a model of Iris."""

Row = dict[str, Any]

PREDICT_KEYS = {
    "prediction": int,
    "prediction_proba": list,
    "confidence": float,
    "model_version": str,
    "timestamp": str,
    "label": str,
    "prediction_id": str,
    "warnings": list,
}
MARKER = "Zk7q-never-echo-me"
LARGEST_ERROR = 16 * 1024


class Api:
    """The API under test, at its address."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.session = direct()

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(self.url + path, timeout=30, **options)

    def json(self, path: str) -> Any:
        """The strict JSON of a GET that must succeed."""
        return strict_json(expect_status(self.get(path), 200))

    def post(self, path: str, body: object, content_type: str | None = "application/json") -> requests.Response:
        """POSTs bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": content_type} if content_type else {}
        return self.session.post(self.url + path, data=data, headers=headers, timeout=60)

    def predict(self, values: Row) -> Any:
        return strict_json(expect_status(self.post("/predict", values), 200))

    @cached_property
    def model(self) -> "Model":
        return Model(self)


class Model:
    """What the API says of the model it serves, and rows made of that.

    Attributes:
        numbers, categories: of the features, by name, as /model/info shows them.
        required: the names of those that can't be left out.
        rows: three valid ones: the documentation's example, and the ends of what was seen in training.
    """

    def __init__(self, api: Api) -> None:
        features = api.json("/model/info")["features"]
        self.names: list[str] = [feature["name"] for feature in features]
        self.numbers: dict[str, Any] = {feature["name"]: feature for feature in features if feature["kind"] == "number"}
        self.categories: dict[str, Any] = {
            feature["name"]: feature for feature in features if feature["kind"] == "category"
        }
        self.required: list[str] = [feature["name"] for feature in features if not feature["missing"]]
        self.example: Row = api.json("/openapi.json")["components"]["schemas"]["PredictRequest"]["examples"][0]
        self.rows = [self.example, self._row("minimum", 0), self._row("maximum", -1)]

    def _row(self, end: str, place: int) -> Row:
        numbers = {name: feature[end] for name, feature in self.numbers.items()}
        categories = {name: list(feature["categories"])[place] for name, feature in self.categories.items()}
        return {name: (numbers | categories)[name] for name in self.names}

    @property
    def is_of_iris(self) -> bool:
        return set(self.names) == set(FLOWERS["setosa"])

    @property
    def field(self) -> str:
        """A feature to break: a number if there is one, for most can go wrong with it."""
        return next(iter(self.numbers), self.names[0])

    def unusual(self) -> Row:
        """The example, but for one number far outside of what was seen in training."""
        feature = self.numbers[self.field]
        return self.example | {self.field: feature["maximum"] + 10 * (feature["maximum"] - feature["minimum"]) + 1}

    def body(self, **changed: str) -> bytes:
        """The example as text, with the raw text of some values changed."""
        values = {name: json.dumps(value) for name, value in self.example.items()} | changed
        return ("{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in values.items()) + "}").encode()

    def body_and(self, more: str) -> bytes:
        """The example as text, and more members."""
        return self.body()[:-1] + f",{more}}}".encode()


def direct() -> requests.Session:
    """A session that asks the server itself, whatever proxy the environment names."""
    session = requests.Session()
    session.trust_env = False
    return session


# -- words for what must hold


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


def expect_equal(what: str, actual: object, expected: object) -> None:
    expect(actual == expected, f"{what} is {actual!r}, not {expected!r}")


def expect_status(response: requests.Response, *allowed: int) -> requests.Response:
    expect(response.status_code in allowed, f"status {response.status_code}, not {allowed}: {response.text[:300]}")
    return response


def strict_json(response: requests.Response) -> Any:
    """The body as JSON in the strict sense: no NaN, no Infinity, announced as JSON."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    expect_equal("the content type", response.headers.get("content-type", "").split(";")[0], "application/json")
    return json.loads(response.content, parse_constant=refuse)


def expect_refusal(response: requests.Response, *statuses: int, field: str | None = None) -> None:
    """A refusal: a 4xx of a bounded size that names the field and the request, and doesn't repeat the input."""
    allowed = statuses or tuple(range(400, 500))
    expect(response.status_code in allowed, f"status {response.status_code}: {response.text[:200]}")
    expect(len(response.content) <= LARGEST_ERROR, f"the error has {len(response.content)} bytes")
    content = strict_json(response)
    expect(bool(content["detail"]), "detail is empty")
    expect_equal("request_id", content["request_id"], response.headers["x-request-id"])
    expect(MARKER not in response.text, "the input is repeated in the error")
    if field is not None:
        named = [problem["loc"][-1] for problem in content["detail"]]
        expect(field in named, f"{field} isn't named, but {named}")


def expect_untouched(api: Api, send: Callable[[], None]) -> None:
    """`send` moves neither the history nor the prediction counters. Others may be predicting: three tries."""
    for _ in range(3):
        before = seen_predictions(api)
        send()
        after = seen_predictions(api)
        if before == after:
            return
    raise AssertionError(f"refused input moved the predictions from {before} to {after}")


def seen_predictions(api: Api) -> tuple[int, int, str | None]:
    history = api.json("/predictions/history?limit=1")
    newest = history["predictions"][0]["prediction_id"] if history["predictions"] else None
    return api.json("/metrics")["predictions_total"], history["total"], newest


def body_limit(api: Api) -> int:
    """The largest body of /predict, as this server documents it."""
    return int(api.json("/openapi.json")["paths"]["/predict"]["post"]["x-max-body-bytes"])


def row_limit(api: Api) -> int:
    """The most rows of a batch, as this server documents it."""
    return int(
        api.json("/openapi.json")["components"]["schemas"]["BatchByRecords"]["properties"]["records"]["maxItems"]
    )


def status_of_unfinished(api: Api, path: str, body: bytes) -> int:
    """The status of a POST that announces no length, sends `body`, and never says that this was all."""
    address = urlsplit(api.url)
    connection = HTTPConnection(address.hostname or "", address.port or 80, timeout=30)
    with contextlib.closing(connection):
        connection.putrequest("POST", address.path + path)
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        connection.send(b"%x\r\n%b\r\n" % (len(body), body))
        return connection.getresponse().status


# -- predictions


def test_known_flowers_are_recognised(api: Api) -> None:
    """A typical flower of each species is predicted as that species. (Of a model of Iris.)"""
    for species, values in FLOWERS.items():
        expect_equal("label", api.predict(values)["label"], species)


def test_labels_and_indices_agree(api: Api) -> None:
    """The label is the class at the index, in the order in which /model/info names the classes."""
    classes = api.json("/model/info")["classes"]
    for values in api.model.rows:
        reply = api.predict(values)
        expect_equal("the class at the index", classes[reply["prediction"]], reply["label"])
        expect_equal("probabilities", len(reply["prediction_proba"]), len(classes))


def test_a_reply_has_every_key_in_its_type(api: Api) -> None:
    """A reply of /predict has every key of the contract, each in its type."""
    reply = api.predict(api.model.example)
    for key, kind in PREDICT_KEYS.items():
        expect(key in reply, f"{key} is missing")
        expect(type(reply[key]) is kind, f"{key} is {reply[key]!r}, not {kind.__name__}")


def test_probabilities_add_up(api: Api) -> None:
    """Probabilities sum to 1, the confidence is the largest of them, and the prediction is its index."""
    for values in api.model.rows:
        reply = api.predict(values)
        shares = reply["prediction_proba"]
        expect(math.isclose(sum(shares), 1, abs_tol=1e-6), f"they sum to {sum(shares)!r}")
        expect(all(0 <= share <= 1 for share in shares), f"{shares} are not probabilities")
        expect_equal("confidence", reply["confidence"], max(shares))
        expect_equal("prediction", reply["prediction"], shares.index(max(shares)))


def test_version_and_time_are_well_formed(api: Api) -> None:
    """The version is YYYYMMDD_HHMMSS and the model's own, the timestamp ISO 8601 in UTC with microseconds, and now."""
    reply = api.predict(api.model.example)
    expect(re.fullmatch(r"\d{8}_\d{6}", reply["model_version"]) is not None, f"version {reply['model_version']!r}")
    expect_equal("model_version", reply["model_version"], api.json("/model/info")["model_version"])
    expect("." in reply["timestamp"], f"{reply['timestamp']} has no microseconds")
    moment = datetime.fromisoformat(reply["timestamp"])
    expect_equal("the offset from UTC", moment.utcoffset(), timedelta(0))
    expect(abs(datetime.now(moment.tzinfo) - moment) < timedelta(minutes=5), f"{reply['timestamp']} is not now")


def test_the_same_row_gets_the_same_answer(api: Api) -> None:
    """The same row gets the same probabilities each time, under an id of its own."""
    first, second = api.predict(api.model.example), api.predict(api.model.example)
    if first["model_version"] == second["model_version"]:
        expect_equal("the second answer", second["prediction_proba"], first["prediction_proba"])
    expect(first["prediction_id"] != second["prediction_id"], "two predictions share an id")


def test_whole_numbers_are_numbers(api: Api) -> None:
    """A whole number is as good as the same number with a point, and the order of the keys doesn't matter."""
    point = api.model.example | {name: float(round(api.model.example[name])) for name in api.model.numbers}
    whole = {name: int(value) if name in api.model.numbers else value for name, value in reversed(point.items())}
    expect_equal("the answer", api.predict(whole)["prediction_proba"], api.predict(point)["prediction_proba"])


def test_what_is_unlike_training_is_answered_with_a_warning(api: Api) -> None:
    """A number outside the range seen in training is answered, with a warning that names the feature; a category that
    wasn't seen too, or it is refused by name where that is set."""
    for values in api.model.rows:
        expect_equal("warnings for what was seen in training", api.predict(values)["warnings"], [])
    unusual = [(api.model.field, api.model.unusual())] if api.model.numbers else []
    unusual += [(name, api.model.example | {name: "never seen in training"}) for name in api.model.categories]
    for name, values in unusual:
        response = api.post("/predict", values)
        if name in api.model.categories and response.status_code == 422:
            expect_refusal(response, 422, field=name)
        else:
            warnings = strict_json(expect_status(response, 200))["warnings"]
            expect_equal("the features warned of", [warning["feature"] for warning in warnings], [name])


def test_what_may_be_missing_may_be_left_out(api: Api) -> None:
    """A feature that some rows lacked in training may be null or left out, which is the same; others are required."""
    for name in set(api.model.names) - set(api.model.required):
        rest = {key: value for key, value in api.model.example.items() if key != name}
        left_out, null = api.predict(rest), api.predict(rest | {name: None})
        expect_equal("the answer without", left_out["prediction_proba"], null["prediction_proba"])
        expect_equal("warnings", left_out["warnings"], [])
    for name in api.model.required:
        expect_refusal(api.post("/predict", api.model.example | {name: None}), 422, field=name)


def test_many_callers_at_once_get_their_own_answers(api: Api) -> None:
    """Two hundred predictions over sixteen connections at once are each answered for their own row."""
    rows = [(api.predict(values)["prediction_proba"], values) for values in api.model.rows] * 67
    sessions: defaultdict[int, requests.Session] = defaultdict(direct)

    def answered(row: tuple[list[float], Row]) -> bool:
        response = sessions[threading.get_ident()].post(f"{api.url}/predict", json=row[1], timeout=60)
        return bool(expect_status(response, 200).json()["prediction_proba"] == row[0])

    with ThreadPoolExecutor(16) as pool:
        wrong = sum(not right for right in pool.map(answered, rows))
    expect_equal("wrong answers", wrong, 0)


def test_batches_answer_in_order_in_both_forms(api: Api) -> None:
    """A batch as records and as columns gets the answers that each row gets alone, in the same order."""
    one, two, three = api.model.rows
    rows = [two, api.model.unusual() if api.model.numbers else one, three, one][: row_limit(api)]
    columns = {name: [row[name] for row in rows] for name in api.model.names}
    alone = [api.predict(row) for row in rows]
    warned = [(number, warning["feature"]) for number, answer in enumerate(alone) for warning in answer["warnings"]]
    for body in ({"records": rows}, {"columns": columns}):
        reply = strict_json(expect_status(api.post("/predict/batch", body), 200))
        for key in ("prediction", "label", "prediction_proba", "confidence"):
            expect_equal(key, reply[key], [answer[key] for answer in alone])
        expect_equal("rows warned of", [(w["row"], w["feature"]) for w in reply["warnings"]], warned)


def test_a_bad_row_refuses_the_whole_batch(api: Api) -> None:
    """One bad row refuses its batch, is named by its number and field, and leaves no trace."""

    def send() -> None:
        rows, name = api.model.rows[: row_limit(api) - 1], api.model.field
        bad = {"never": MARKER}
        response = api.post("/predict/batch", {"records": [*rows, api.model.example | {name: bad}]})
        expect_refusal(response, 422, field=name)
        expect_equal("the row", response.json()["detail"][0]["loc"][-2], len(rows))
        if row_limit(api) > 1 and len(api.model.names) > 1:
            uneven = {"columns": {key: [value] * (1 + (key == name)) for key, value in api.model.example.items()}}
            other = next(key for key in api.model.names if key != name)
            expect_refusal(api.post("/predict/batch", uneven), 422, field=name if api.model.names[0] != name else other)
        for empty in (b"{}", b'{"records":[]}', b'{"columns":{}}', b'{"rows":[]}'):
            expect_refusal(api.post("/predict/batch", empty), 422)

    expect_untouched(api, send)


# -- what is remembered and counted


def test_a_prediction_enters_the_history(api: Api) -> None:
    """A prediction stands in the history under its id, with the inputs and outputs that went over the wire."""
    sent = api.model.rows[1]
    reply = api.predict(sent)
    entries = api.json("/predictions/history?limit=1000")["predictions"]
    entry = next((entry for entry in entries if entry["prediction_id"] == reply["prediction_id"]), None)
    if entry is None:
        raise AssertionError("it isn't there")
    expect_equal("inputs", entry["inputs"], sent)
    expect(entry["latency_ms"] > 0, f"latency {entry['latency_ms']}")
    for key in PREDICT_KEYS:
        expect_equal(key, entry[key], reply[key])


def test_the_history_is_paged_newest_first(api: Api) -> None:
    """The history comes newest first, in pages that fit together, and holds at most 1000."""
    for values in api.model.rows:
        api.predict(values)
    page = api.json("/predictions/history?limit=1000")
    times = [entry["timestamp"] for entry in page["predictions"]]
    expect(times == sorted(times, reverse=True), "they are not in the order of their times")
    expect(len(times) == page["total"] <= 1000, f"{len(times)} entries of a total of {page['total']}")
    for _ in range(3):  # another caller may push the pages apart
        two = [entry["prediction_id"] for entry in api.json("/predictions/history?limit=2")["predictions"]]
        second = [entry["prediction_id"] for entry in api.json("/predictions/history?limit=1&offset=1")["predictions"]]
        if two[1:] == second:
            return
    raise AssertionError(f"the second of {two} is not {second}")


def test_counters_rise_by_what_was_sent(api: Api) -> None:
    """Predictions, by class and by version, requests and errors each rise by what was sent, and not by less."""
    before = api.json("/metrics")
    reply = [api.predict(api.model.example) for _ in range(3)].pop()
    version = reply["model_version"]
    api.post("/predict", [])
    after = api.json("/metrics")

    def risen(*path: str) -> int:
        def count(metrics: Any) -> int:
            for key in path:
                metrics = metrics.get(key, {})
            return metrics or 0

        return count(after) - count(before)

    for path, least in {
        ("predictions_total",): 3,
        ("predictions_by_class", reply["label"]): 3,
        ("predictions_by_version", version): 3,
        ("requests", "/predict", "200"): 3,
        ("requests_total",): 5,
        ("errors", "/predict", "422"): 1,
        ("errors_total",): 1,
    }.items():
        expect(risen(*path) >= least, f"{'.'.join(path)} rose by {risen(*path)}, not by {least}")
    expect(0 < after["mean_confidence"] <= 1, f"mean_confidence {after['mean_confidence']}")
    latency = after["latency_ms"]
    expect(latency["mean"] > 0 and latency["p50"] <= latency["p95"] <= latency["p99"], f"latencies {latency}")
    expect(after["uptime_seconds"] > before["uptime_seconds"], "the uptime stands still")
    expect_equal("model_version", after["model_version"], version)


def test_prometheus_shows_the_same_counters(api: Api) -> None:
    """Prometheus' text has the names of the contract and the numbers of the JSON; a browser or curl gets JSON."""
    api.predict(api.model.example)
    for _ in range(3):  # another caller may predict in between
        shown = api.json("/metrics")["predictions_total"]
        asked = api.get("/metrics", headers={"Accept": "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"})
        expect(asked.headers["content-type"].startswith("text/plain"), f"{asked.headers['content-type']}")
        counts = re.findall(r"^model_predictions_total\{[^}]*\} (\S+)$", asked.text, re.MULTILINE)
        if sum(map(float, counts)) == shown:
            break
    else:
        raise AssertionError(f"the text says {counts}, the JSON {shown}")
    text = expect_status(api.get("/metrics/prometheus"), 200).text
    for name in (
        "http_requests_total",
        "http_request_duration_seconds_bucket",
        "model_predictions_total",
        "model_prediction_confidence_bucket",
        "model_info",
        "model_reloads_total",
    ):
        expect(f"\n{name}{{" in text, f"{name} is missing")


def test_paths_that_callers_invent_are_not_counted_one_by_one(api: Api) -> None:
    """A path that doesn't exist is counted without its name, so callers can't make the metrics grow."""
    expect_refusal(api.get(f"/{MARKER}"), 404)
    expect(MARKER not in api.get("/metrics/prometheus").text, "the path became a label")
    expect(MARKER not in api.get("/metrics").text, "the path became a key")


# -- how it is, and what it serves


def test_it_is_healthy(api: Api) -> None:
    """/health, /livez and /readyz say 200; /health names the model, the time and the uptime."""
    health = api.json("/health")
    expect_equal("status", health["status"], "healthy")
    expect_equal("model_loaded", health["model_loaded"], True)
    expect_equal("model_version", health["model_version"], api.json("/model/info")["model_version"])
    expect(health["uptime_seconds"] > 0, f"uptime {health['uptime_seconds']}")
    expect_equal("reason", health["reason"], None)
    datetime.fromisoformat(health["timestamp"])
    for probe in ("/livez", "/readyz"):
        expect_status(api.get(probe), 200)


def test_the_model_is_described(api: Api) -> None:
    """/model/info says what is served, how good it was, on what it was trained, and where it came from."""
    info = api.json("/model/info")
    for key in ("run_id", "registry_version", "alias", "model_type", "trained_at", "checksum", "git_commit"):
        expect(bool(info[key]), f"{key} is empty")
    expect(len(info["classes"]) >= 2, f"classes {info['classes']}")
    numbers = [feature for feature in info["features"] if feature["kind"] == "number"]
    expect(all(feature["minimum"] <= feature["mean"] <= feature["maximum"] for feature in numbers), "a range is none")
    total = sum(feature["importance"] for feature in info["features"])
    expect(total == 0 or math.isclose(total, 1, abs_tol=1e-6), f"importances sum to {total}")
    expect(0 < info["metrics"]["test_accuracy"] <= 1, f"accuracy {info['metrics']['test_accuracy']}")
    moves = [move for move in info["journal"] if move["alias"] == info["alias"]]
    expect(not moves or moves[0]["to"] == info["registry_version"], f"the journal says that {moves[:1]} is live")
    expect("seed" in info["parameters"], f"parameters {info['parameters']}")
    expect("scikit-learn" in info["libraries"], f"libraries {info['libraries']}")


def test_openapi_describes_the_served_model(api: Api) -> None:
    """/openapi.json has every route, and exactly the model's features with their categories, and gives an example that
    works."""
    document = api.json("/openapi.json")
    contract = {"/predict", "/predict/batch", "/health", "/livez", "/readyz", "/metrics", "/metrics/prometheus"}
    contract |= {"/predictions/history", "/model/info"}
    expect(contract <= set(document["paths"]), f"missing: {contract - set(document['paths'])}")
    body = document["components"]["schemas"]["PredictRequest"]
    expect_equal("the fields", list(body["properties"]), api.model.names)
    expect_equal("the required fields", set(body.get("required", [])), set(api.model.required))
    for name, feature in api.model.categories.items():
        field = body["properties"][name]
        expect_equal(name, field.get("anyOf", [field])[0]["enum"], list(feature["categories"]))
    expect_equal("other fields", body["additionalProperties"], False)
    api.predict(body["examples"][0])


def test_docs_need_no_internet(api: Api) -> None:
    """/docs loads everything that it needs from this server."""
    page = expect_status(api.get("/docs"), 200).text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    expect(len(loaded) >= 2, f"the page loads only {loaded}")
    for address in loaded:
        expect(address.startswith("/"), f"{address} is elsewhere")
        expect_status(api.get(address), 200)


def test_request_ids_come_back(api: Api) -> None:
    """A sane X-Request-ID comes back as it was sent; a missing or insane one is replaced, on errors too."""
    for path in ("/health", "/nowhere"):
        expect_equal("the id", api.get(path, headers={"X-Request-ID": "abc-123"}).headers["x-request-id"], "abc-123")
        made = api.get(path).headers["x-request-id"]
        expect(bool(re.fullmatch(r"[0-9a-f]{32}", made)), f"the made id is {made!r}")
        for insane in ("a b", "x" * 500, "<script>"):
            made = api.get(path, headers={"X-Request-ID": insane}).headers["x-request-id"]
            expect(bool(re.fullmatch(r"[0-9a-f]{32}", made)), f"{insane[:20]!r} came back as {made[:40]!r}")


# -- bad input: a 4xx that names the field, nothing remembered, nothing counted


def test_missing_and_extra_fields_are_named(api: Api) -> None:
    """A missing field and an extra field are refused by name."""

    def send() -> None:
        for name in api.model.required:
            rest = {key: value for key, value in api.model.example.items() if key != name}
            expect_refusal(api.post("/predict", rest), 422, field=name)
        expect_refusal(api.post("/predict", api.model.example | {"no such field": MARKER}), 422, field="no such field")

    expect_untouched(api, send)


def test_only_finite_numbers_are_numbers(api: Api) -> None:
    """In place of a number, strings, booleans, lists, NaN, infinities and what overflows are refused by the field's
    name."""
    bad = ['"5.1"', '"1_000"', f'"{MARKER}"', "true", "false", "[]", "[1.0]", '{"a":1}']
    bad += ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e300", "-1e300", "1" + "0" * 300]

    def send() -> None:
        for name in list(api.model.numbers)[:1]:
            for value in bad:
                expect_refusal(api.post("/predict", api.model.body(**{name: value})), 422, field=name)

    expect_untouched(api, send)


def test_only_texts_are_categories(api: Api) -> None:
    """In place of a category, numbers, booleans, lists, and texts of any length are refused by the field's name."""
    bad = ["1", "1.0", "true", "[]", f'["{MARKER}"]', '{"a":1}', "NaN", f'"{MARKER * 20}"', f'"{MARKER * 20000}"']

    def send() -> None:
        for name in list(api.model.categories)[:1]:
            for value in bad:
                expect_refusal(api.post("/predict", api.model.body(**{name: value})), 422, field=name)

    expect_untouched(api, send)


def test_ambiguous_and_absurd_json_is_refused(api: Api) -> None:
    """Duplicate keys, lone surrogates, absurdly long numbers and strings, and deep nesting are refused."""
    model, name = api.model, api.model.field
    value, escaped = json.dumps(model.example[name]), f"\\u{ord(name[0]):04x}{json.dumps(name[1:])[1:-1]}"
    bodies: list[tuple[bytes, str | None]] = [
        (model.body_and(f"{json.dumps(name)}:{value}"), name),
        (model.body_and(f'"{escaped}":{value}'), name),
        (model.body_and(r'"\ud800":1'), None),
        (model.body(**{name: r'"\udfff"'}), None),
        (model.body(**{name: "1" * 5000}), None),
        (model.body(**{name: "0." + "1" * 5000}), name),
        (model.body(**{name: f'"{MARKER * 20000}"'}), name),
        (model.body_and(f'"{MARKER[:3] + "y" * 300000}":1'), None),
        (model.body(**{name: "[" * 100000 + "]" * 100000}), None),
        (b"[" * 500000, None),
        (b"[" + b"[]," * 300000 + b"[]]", None),
        (b"{" + b",".join(b'"k%d":1' % number for number in range(60000)) + b"}", None),
    ]

    def send() -> None:
        for body, field in bodies:
            fits = len(body) <= body_limit(api)
            expect_refusal(api.post("/predict", body), 422 if fits else 413, field=field if fits else None)

    expect_untouched(api, send)


def test_broken_bodies_are_refused(api: Api) -> None:
    """An empty body, broken JSON, JSON that is no object, and text that isn't UTF-8 are refused."""
    bodies = [b"", b" ", b"{", b"[]", b"null", b"1", b'"x"', b"\xff\xfe", b'{"a":}', b"a=1"]
    whole = api.model.body()

    def send() -> None:
        for body in (*bodies, whole + b"x", whole + whole, b"\xef\xbb\xbf" + whole):
            expect_refusal(api.post("/predict", body), 422)

    expect_untouched(api, send)


def test_other_content_types_are_refused(api: Api) -> None:
    """A body that isn't announced as JSON in UTF-8 is refused with 415."""

    def send() -> None:
        types = ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", "application/json; charset=x")
        for content_type in (*types, None):
            expect_refusal(api.post("/predict", api.model.body(), content_type), 415)

    expect_untouched(api, send)
    expect_status(api.post("/predict", api.model.body(), "application/json; charset=utf-8"), 200)


def test_bodies_over_the_limit_are_refused(api: Api) -> None:
    """A body over the limit is refused with 413, announced or counted as it arrives; one of just that size is read."""
    limit = body_limit(api)

    def send() -> None:
        padded = api.model.body() + b" " * (limit - len(api.model.body()) + 1)
        expect_refusal(api.post("/predict", padded), 413)
        expect_equal("the status before the body's end", status_of_unfinished(api, "/predict", padded), 413)

    expect_untouched(api, send)
    expect_status(api.post("/predict", api.model.body() + b" " * (limit - len(api.model.body()))), 200)


def test_wrong_methods_and_paths_are_refused(api: Api) -> None:
    """Wrong methods get 405 with Allow, unknown paths and trailing slashes 404, and nothing redirects elsewhere."""

    def send() -> None:
        for method, path in (("GET", "/predict"), ("PUT", "/predict"), ("DELETE", "/predict"), ("POST", "/health")):
            response = api.session.request(method, api.url + path, timeout=30, json=api.model.example)
            expect_refusal(response, 405)
            expect(bool(response.headers.get("allow")), "there is no Allow header")
        for path in ("/predict/", "/nope", "/%00"):
            evil = {"Host": "evil.example", "Content-Type": "application/json"}
            response = api.session.post(
                api.url + path, data=api.model.body(), headers=evil, timeout=30, allow_redirects=False
            )
            expect_refusal(response, 404, 405)

    expect_untouched(api, send)


def test_bad_queries_are_refused_by_name(api: Api) -> None:
    """A limit outside 1 to 1000, an offset below 0, and anything but a whole number is refused by name."""
    numbers = {"limit": "0 1001 -1000000 x 1.5 5.0 1_0 +5 NaN " + "9" * 5000, "offset": "-1 x 1e3 %205 " + "9" * 50}
    for name, bad in numbers.items():
        for value in bad.split():
            expect_refusal(api.get(f"/predictions/history?{name}={value}"), 422, field=name)


# -- running them


def checks(model: Model) -> list[Callable[[Api], None]]:
    """Every check of this file that is for such a model, in its order."""
    found = [check for name, check in globals().items() if name.startswith("test_")]
    return [check for check in found if model.is_of_iris or check is not test_known_flowers_are_recognised]


def run(url: str) -> int:
    """Runs every check, prints a line for each and a closing count. Returns how many failed."""
    print(f"Testing {url}")
    api, failed = Api(url), 0
    try:
        wanted = checks(api.model)
    except (AssertionError, requests.RequestException, LookupError, ValueError) as error:
        raise RuntimeError(f"{url} doesn't say what it serves: {error}") from error
    for check in wanted:
        started = time.perf_counter()
        try:
            check(api)
            differed = ""
        except Exception as error:  # noqa: BLE001 a check that crashes has failed, and the others still run
            differed = f"{type(error).__name__}: {error}" if not isinstance(error, AssertionError) else str(error)
        milliseconds = (time.perf_counter() - started) * 1000
        print(
            f" {'✗' if differed else '✓'} {milliseconds:6.0f} ms  {' '.join((check.__doc__ or check.__name__).split())}"
        )
        if differed:
            failed += 1
            print(f"              {differed[:500]}")
    print(f"{len(wanted) - failed} passed, {failed} failed")
    return failed


def answers(url: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        direct().get(f"{url.rstrip('/')}/livez", timeout=5)
        return True
    return False


@contextlib.contextmanager
def own_server() -> Iterator[str]:
    """Trains in a temporary folder, serves that model on a free port, and gives the address."""
    here = Path(__file__).resolve().parent
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        environment = os.environ | {
            "MLFLOW_TRACKING_URI": f"file:{folder}/mlruns",
            "TABSERVE_ARTIFACTS_DIR": f"{folder}/artifacts",
        }
        training = subprocess.run(
            [sys.executable, here / "train_model.py"], env=environment, capture_output=True, text=True, check=False
        )
        if training.returncode:
            raise RuntimeError(f"training failed: {training.stderr.strip()}")
        command = [sys.executable, str(here / "api.py"), "--host", "127.0.0.1", "--port", str(port)]
        with (
            (Path(folder) / "api.log").open("wb+") as log,
            subprocess.Popen(command, env=environment, stdout=log, stderr=log) as server,
        ):
            try:
                url = f"http://127.0.0.1:{port}"
                wait_until_ready(url, server, Path(log.name))
                yield url
            finally:
                server.terminate()
                server.wait(timeout=30)


def wait_until_ready(url: str, server: "subprocess.Popen[bytes]", log: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with status {server.returncode}: {log.read_text()[-1000:]}")
        with contextlib.suppress(requests.RequestException):
            if direct().get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the server was not ready after {seconds:.0f} s: {log.read_text()[-1000:]}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Check a running API against its contract, over HTTP.")
    parser.add_argument("--url", default="http://localhost:8000", help="address of the API (default: %(default)s)")
    parser.add_argument("--no-server", action="store_true", help="fail if nothing answers there, start no server")
    options = parser.parse_args()
    if not options.url.startswith(("http://", "https://")):
        parser.error(f"{options.url!r} is no address: it starts with http:// or https://")
    try:
        if answers(options.url):
            return 1 if run(options.url) else 0
        if options.no_server:
            raise RuntimeError(f"nothing answers at {options.url}")
        print(f"Nothing answers at {options.url}: training a model in a temporary folder and starting a server for it")
        with own_server() as url:
            failed = run(url)
        print(f"That was a server of our own: nothing answers at {options.url}")
        return 1 if failed else 0
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # who reads this, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except RuntimeError as error:
        print(f"test_api.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
