"""Counters: one set, two forms, bounded labels."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tabserve.monitoring.metrics import MAX_VERSIONS, OLDER, Metrics
from tests.support.records import prediction


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def text(metrics: Metrics) -> dict[str, float]:
    families = text_string_to_metric_families(metrics.text("text/plain")[0].decode())
    return {f"{s.name}{sorted(s.labels.items())}": s.value for family in families for s in family.samples}


def test_both_forms_show_the_same_numbers() -> None:
    """What JSON says of predictions and requests is what Prometheus' text says."""
    metrics = Metrics()
    for number in range(3):
        metrics.observe(prediction(number))
    metrics.request("POST", "/predict", 200, 0.002)
    metrics.request("POST", "/predict", 422, 0.001)
    snapshot, shown = metrics.snapshot(), text(metrics)
    assert snapshot["predictions_total"] == 3
    assert shown["model_predictions_total[('label', 'a'), ('model_version', '20260101_000000')]"] == 3
    assert snapshot["predictions_by_class"] == {"a": 3}
    assert snapshot["predictions_by_version"] == {"20260101_000000": 3}
    assert snapshot["mean_confidence"] == 1
    assert snapshot["requests"] == {"/predict": {"200": 1, "422": 1}}
    assert snapshot["errors"] == {"/predict": {"422": 1}}
    assert (snapshot["requests_total"], snapshot["errors_total"]) == (2, 1)
    assert shown["http_requests_total[('method', 'POST'), ('route', '/predict'), ('status', '422')]"] == 1


def test_quantiles_are_near_the_true_ones() -> None:
    """p50, p95 and p99 of 1 to 1000 ms are within a third of the true ones, and in order."""
    metrics = Metrics()
    for milliseconds in range(1, 1001):
        metrics.request("POST", "/predict", 200, milliseconds / 1000)
        metrics.request("GET", "/health", 200, 60)
    latency = metrics.snapshot()["latency_ms"]
    assert latency["mean"] == pytest.approx(500.5)
    for share in (50, 95, 99):
        assert latency[f"p{share}"] == pytest.approx(share * 10, rel=1 / 3)
    assert latency["p50"] < latency["p95"] < latency["p99"]


def test_nothing_counted_is_null_and_not_zero() -> None:
    """Before the first prediction means and quantiles are null."""
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
    assert sum(name.startswith("http_requests_total[('method'") for name in text(metrics)) == 1
    by_version = metrics.snapshot()["predictions_by_version"]
    assert len(by_version) == MAX_VERSIONS + 1
    assert by_version[OLDER] == 100 - MAX_VERSIONS
    assert metrics.snapshot()["predictions_total"] == 100


def test_two_apps_count_for_themselves() -> None:
    """Two sets of counters in one process share nothing, the clock included."""
    clock = Clock()
    first, second = Metrics(clock), Metrics()
    first.observe(prediction(1))
    clock.now += 5
    assert first.uptime() == 5
    assert second.snapshot()["predictions_total"] == 0


def test_the_served_model_is_one_series() -> None:
    """model_info has one series, that of the model served now."""
    metrics = Metrics()
    for version in ("20260101_000000", "20260102_000000"):
        metrics.serving(version, "7")
    shown = [name for name in text(metrics) if name.startswith("model_info")]
    assert shown == ["model_info[('model_version', '20260102_000000'), ('registry_version', '7')]"]
