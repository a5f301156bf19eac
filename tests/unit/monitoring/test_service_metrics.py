"""The state of the service as Prometheus and `/metrics` see it: what an alert can be made of."""

import sys

import pytest

from tabserve.monitoring import Metrics
from tabserve.monitoring.service_metrics import REASONS
from tests.support.records import Clock


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


@pytest.mark.parametrize("status", ["healthy", "degraded", "unhealthy"])
def test_exactly_one_status_is_1(status: str) -> None:
    """Each status has its series at any time, so that an alert on it never lacks data."""
    metrics = Metrics()
    metrics.service.status(status)  # type: ignore[arg-type]
    shown = {name: value(metrics, "service_health", status=name) for name in ("healthy", "degraded", "unhealthy")}
    assert shown == {"healthy": 0, "degraded": 0, "unhealthy": 0} | {status: 1}
    assert value(metrics, "model_loaded") == (status != "unhealthy")
    assert metrics.snapshot()["status"] == status


def test_service_is_unhealthy_until_it_says_otherwise() -> None:
    """Before the first poll of the registry there is no model."""
    metrics = Metrics()
    assert value(metrics, "service_health", status="unhealthy") == 1
    assert value(metrics, "model_loaded") == 0


def test_age_of_the_last_answer_grows_until_the_registry_answers_again() -> None:
    """Before the first answer it is the time since the start, so that a registry that never answered is noticed."""
    clock = Clock()
    metrics = Metrics(clock)
    clock.now += 7
    assert value(metrics, "registry_read_age_seconds") == 7
    metrics.service.registry_read()
    assert value(metrics, "registry_read_age_seconds") == 0
    clock.now += 2.5
    assert value(metrics, "registry_read_age_seconds") == 2.5
    assert metrics.snapshot()["registry_read_age_seconds"] == 2.5


def test_every_reason_of_a_failed_reload_has_a_series_from_the_start() -> None:
    """A counter that appears with its first failure would hide this failure from `increase`."""
    metrics = Metrics()
    assert [value(metrics, "model_reload_failures_total", reason=reason) for reason in REASONS] == [0] * len(REASONS)
    assert metrics.snapshot()["reload_failures"] == {}
    metrics.service.reload_failed("damaged")
    metrics.service.reload_failed("damaged")
    assert value(metrics, "model_reload_failures_total", reason="damaged") == 2
    assert metrics.snapshot()["reload_failures"] == {"damaged": 2}


@pytest.mark.parametrize(
    ("reason", "refused", "unavailable"),
    [("no_champion", 0, 0), ("unavailable", 0, 1), ("unexpected", 0, 1), ("missing", 1, 0), ("incompatible", 1, 0)],
)
def test_reasons_add_up_to_the_results_of_reloads(reason: str, refused: int, unavailable: int) -> None:
    """`model_reloads_total` counts releases that were refused, and polls without an answer. No champion is neither."""
    metrics = Metrics()
    metrics.service.reload_failed(reason)  # type: ignore[arg-type]
    assert value(metrics, "model_reloads_total", result="refused") == refused
    assert value(metrics, "model_reloads_total", result="unavailable") == unavailable


def test_requests_in_flight_and_queued_are_shown() -> None:
    """As they are at the moment of the scrape."""
    metrics = Metrics()
    metrics.service.in_flight, metrics.service.queued = 3, lambda: 2
    assert (value(metrics, "http_requests_in_flight"), value(metrics, "http_requests_queued")) == (3, 2)
    snapshot = metrics.snapshot()
    assert (snapshot["requests_in_flight"], snapshot["requests_queued"]) == (3, 2)


@pytest.mark.skipif(sys.platform != "linux", reason="prometheus_client reads /proc")
def test_process_is_measured_under_the_names_of_the_ecosystem() -> None:
    """The names that dashboards of any Prometheus client use."""
    metrics = Metrics()
    for name in ("resident_memory_bytes", "virtual_memory_bytes", "start_time_seconds", "open_fds", "max_fds"):
        assert (value(metrics, f"process_{name}") or 0) > 0, name
    assert value(metrics, "process_cpu_seconds_total") is not None
