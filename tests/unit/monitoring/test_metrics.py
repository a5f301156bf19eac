"""Counters: one set of numbers in two formats, with bounded labels."""

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tabserve.model import Classification
from tabserve.monitoring import Metrics
from tabserve.monitoring.metrics import MAX_VERSIONS, OLDER
from tests.support.records import Clock, batch, prediction

TASK = Classification(classes=("a", "b"))


def samples(metrics: Metrics) -> dict[str, float]:
    families = text_string_to_metric_families(metrics.text("text/plain")[0].decode())
    return {f"{s.name}{sorted(s.labels.items())}": s.value for family in families for s in family.samples}


def test_both_formats_show_the_same_numbers() -> None:
    """What the JSON says of predictions and requests is what the Prometheus text says."""
    metrics = Metrics()
    for number in range(3):
        metrics.observe(prediction(number))
    metrics.request("POST", "/predict", 200, 0.002)
    metrics.request("POST", "/predict", 422, 0.001)
    snapshot, shown = metrics.snapshot(), samples(metrics)
    assert snapshot["predictions_total"] == 3
    assert shown["model_predictions_total[('label', 'a'), ('model_version', '20260101_000000')]"] == 3
    assert snapshot["predictions_by_class"] == {"a": 3}
    assert snapshot["predictions_by_version"] == {"20260101_000000": 3}
    assert snapshot["mean_confidence"] == 1
    assert shown["model_prediction_confidence_count[]"] == 3
    assert snapshot["requests"] == {"/predict": {"200": 1, "422": 1}}
    assert snapshot["errors"] == {"/predict": {"422": 1}}
    assert (snapshot["requests_total"], snapshot["errors_total"]) == (2, 1)
    assert shown["http_requests_total[('method', 'POST'), ('route', '/predict'), ('status', '422')]"] == 1


def test_batch_is_counted_row_by_row() -> None:
    """A batch adds its rows to those of single predictions."""
    metrics = Metrics()
    metrics.observe(prediction(1))
    metrics.observe_batch(batch(4, 2))
    snapshot = metrics.snapshot()
    assert (snapshot["predictions_total"], snapshot["predictions_by_class"]) == (5, {"a": 5})
    assert snapshot["predictions_by_version"] == {"20260101_000000": 5}
    assert snapshot["mean_confidence"] == (1 + 0 + 1 + 2 + 3) / 5


def test_quantiles_are_close_to_the_true_ones() -> None:
    """p50, p95 and p99 of 1 to 1000 ms are within a third of the true ones, and in order."""
    metrics = Metrics()
    for milliseconds in range(1, 1001):
        metrics.request("POST", "/predict", 200, milliseconds / 1000)
        metrics.request("GET", "/health", 200, 60)
    latency = metrics.snapshot()["latency_ms"]
    assert latency["mean"] == pytest.approx(500.5)
    for percent in (50, 95, 99):
        assert latency[f"p{percent}"] == pytest.approx(percent * 10, rel=1 / 3)
    assert latency["p50"] < latency["p95"] < latency["p99"]


def test_median_of_fast_predictions_can_be_read() -> None:
    """Most take less than 100 µs: they are spread over several buckets."""
    metrics = Metrics()
    for microseconds in range(15, 100):
        metrics.request("POST", "/predict", 200, microseconds / 1e6)
    assert metrics.snapshot()["latency_ms"]["p50"] == pytest.approx(0.057, rel=0.1)


def test_numbers_without_predictions_are_null() -> None:
    """Before the first prediction means and quantiles are null, not 0."""
    snapshot = Metrics().snapshot()
    assert snapshot["predictions_total"] == 0
    assert snapshot["mean_confidence"] is None
    assert set(snapshot["latency_ms"].values()) == {None}


def test_labels_are_bounded() -> None:
    """Invented methods share one label, and versions before the newest twenty share one without losing a count."""
    metrics = Metrics()
    for number in range(100):
        metrics.request(f"INVENTED{number}", "/predict", 405, 0.001)
        metrics.observe(prediction(number)._replace(model_version=str(number)))
    assert sum(name.startswith("http_requests_total[('method'") for name in samples(metrics)) == 1
    by_version = metrics.snapshot()["predictions_by_version"]
    assert len(by_version) == MAX_VERSIONS + 1
    assert by_version[OLDER] == 100 - MAX_VERSIONS
    assert metrics.snapshot()["predictions_total"] == 100


def test_comparisons_are_bounded() -> None:
    """Only the newest pairs of models are kept. A pair that comes back goes on counting where it was."""
    metrics = Metrics()
    first = metrics.comparison("a", "b", TASK)
    for number in range(3 * MAX_VERSIONS):
        metrics.comparison("a", str(number), TASK)
        assert metrics.comparison("a", "b", TASK) is first
    assert metrics.text("")[0].count(b'result="agreed"') == MAX_VERSIONS


def test_comparison_is_shown_to_prometheus() -> None:
    """Rows by result, distances and latencies of a pair of models are in the Prometheus text, by the pair."""
    metrics = Metrics()
    comparison = metrics.comparison("one", "two", TASK)
    ours, theirs = (TASK.decide_rows(np.array([outputs])) for outputs in ([1.0, 0.0], [0.75, 0.25]))
    comparison.add(ours.outcomes(), theirs)
    comparison.add_latency("two", 2e-6)
    shown, pair = samples(metrics), "('challenger', 'two'), ('champion', 'one')"
    assert shown[f"model_shadow_predictions_total[{pair}, ('result', 'agreed')]"] == 1
    assert shown[f"model_shadow_predictions_total[{pair}, ('result', 'failed')]"] == 0
    assert shown[f"model_shadow_probability_distance_sum[{pair}]"] == 0.25
    assert shown[f"model_shadow_duration_seconds_count[{pair}, ('model_version', 'two')]"] == 1


def test_two_apps_share_no_counters() -> None:
    """Two sets of counters in one process share nothing, not even the clock."""
    clock = Clock()
    first, second = Metrics(clock), Metrics()
    first.observe(prediction(1))
    clock.now += 5
    assert first.uptime() == 5
    assert second.snapshot()["predictions_total"] == 0


def test_served_model_is_one_series() -> None:
    """model_info has one series, that of the model which is served now."""
    metrics = Metrics()
    for version in ("20260101_000000", "20260102_000000"):
        metrics.service.serving(version, "7")
    shown = [name for name in samples(metrics) if name.startswith("model_info")]
    assert shown == ["model_info[('model_version', '20260102_000000'), ('registry_version', '7')]"]
