"""Following the champion: a new one is swapped in, and whatever fails leaves the present model in place."""

import dataclasses
import logging
import sys
import threading

import pytest

from tabserve.errors import NoModelError, ReleaseError, TrackingError
from tabserve.inference import predict
from tabserve.model import Release
from tabserve.monitoring import Metrics
from tabserve.serving import Service
from tabserve.serving.loader import MAX_PAUSE, growing_pause
from tests.support.models import ROW
from tests.support.records import Clock
from tests.support.sources import FakeSource, is_healthy_after_a_poll, reloads, served, service_of
from tests.support.waiting import LIMIT, until


def test_service_without_a_model_says_what_to_do() -> None:
    """With nothing registered the service is unhealthy, and refuses to predict in the same words."""
    service, _ = service_of(FakeSource())
    service.poll()
    assert service.state().status == "unhealthy"
    assert service.state().reason == "No model has been trained yet. Train one."
    for model in (service.state().model, lambda: service.state().model_for(b"caller")):
        with pytest.raises(NoModelError, match=r"^No model has been trained yet\. Train one\.$"):
            model()


def test_first_model_is_served_without_any_call(release: Release) -> None:
    """A model that is registered while the service runs is served by itself."""
    source = FakeSource()
    service, _ = service_of(source)
    service.start()
    try:
        until(lambda: "No model" in (service.state().reason or ""))
        source.live = release
        until(lambda: service.state().status == "healthy")
        assert served(service) == release.model_version
    finally:
        service.stop()


def test_state_never_contradicts_itself(release: Release) -> None:
    """A thread that reads the state all the time sees the first model replace `unhealthy` with a reason by `healthy`
    without one, and nothing between."""
    source = FakeSource()
    service, _ = service_of(source)
    seen = set()
    done = threading.Event()

    def read_all_the_time() -> None:
        while not done.is_set():
            state = service.state()
            seen.add((state.status, state.reason is None, state.champion is None))

    reader = threading.Thread(target=read_all_the_time)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        reader.start()
        service.poll()
        until(lambda: len(seen) == 1)
        source.live = release
        service.poll()
        until(lambda: len(seen) > 1)
    finally:
        sys.setswitchinterval(interval)
        done.set()
        reader.join()
    assert seen == {("unhealthy", False, True), ("healthy", True, False)}


def test_new_champion_is_loaded_once(release: Release, other: Release) -> None:
    """A new champion is loaded once and served; as long as it stays the champion, nothing is fetched again."""
    source = FakeSource(release)
    service, metrics = service_of(source)
    service.poll()
    service.poll()
    assert source.fetched == 1
    source.live = other
    for _ in range(3):
        service.poll()
    assert served(service) == other.model_version
    assert (source.fetched, reloads(metrics, "loaded")) == (2, 2)


def test_old_model_answers_while_the_new_one_loads(release: Release, other: Release) -> None:
    """A request that took its model before a swap finishes with it, and requests during the loading are answered."""
    source = FakeSource(release)
    service, _ = service_of(source)
    service.poll()
    before, loading, go_on = service.state().model(), threading.Event(), threading.Event()

    def hang() -> None:
        loading.set()
        assert go_on.wait(LIMIT)

    source.live, source.on_fetch = other, hang
    thread = threading.Thread(target=service.poll)
    thread.start()
    assert loading.wait(LIMIT)
    assert predict(service.state().model().predictor, ROW, 0).model_version == release.model_version
    go_on.set()
    thread.join()
    assert predict(service.state().model().predictor, ROW, 0).model_version == other.model_version
    assert predict(before.predictor, ROW, 0).model_version == release.model_version


@pytest.mark.parametrize(
    ("where", "error", "result"),
    [
        ("fail_champion", TrackingError("the store is away"), "unavailable"),
        ("fail_champion", RuntimeError("something else"), "unavailable"),
        ("fail_fetch", ReleaseError("it is damaged"), "refused"),
    ],
)
def test_failure_leaves_the_old_model(
    where: str, error: Exception, result: str, release: Release, other: Release, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever fails, the old model is served, the state is degraded with the reason, and the service recovers by
    itself."""
    source = FakeSource(release)
    service, metrics = service_of(source)
    service.poll()
    source.live = other
    setattr(source, where, error)
    with caplog.at_level(logging.CRITICAL, "tabserve"):
        service.poll()
    state = service.state()
    assert state.status == "degraded"
    assert str(error) in (state.reason or "")
    assert served(service) == release.model_version
    assert reloads(metrics, result) == 1
    service.poll()
    assert caplog.text.count("Traceback") <= 1

    setattr(source, where, None)
    until(lambda: is_healthy_after_a_poll(service))
    assert served(service) == other.model_version


@pytest.mark.parametrize(
    ("where", "error", "reason", "was_read"),
    [
        ("fail_champion", NoModelError("no version carries the alias"), "no_champion", True),
        ("fail_champion", TrackingError("the store is away"), "unavailable", False),
        ("fail_champion", RuntimeError("something else"), "unexpected", False),
        ("fail_fetch", ReleaseError("it isn't there", "missing"), "missing", True),
        ("fail_fetch", ReleaseError("another format", "incompatible"), "incompatible", True),
    ],
)
def test_failure_is_shown_to_prometheus_by_its_reason(
    where: str, error: Exception, reason: str, was_read: bool, release: Release, other: Release
) -> None:
    """A service that serves something else than the registry names is degraded there too. The age of the registry's
    last answer grows only while it can't be asked."""
    source, clock = FakeSource(release), Clock()
    metrics = Metrics(clock)
    service = Service(source, metrics, (), 0.01)
    shown = metrics.registry.get_sample_value
    assert shown("service_health", {"status": "unhealthy"}) == 1
    service.poll()
    assert (shown("service_health", {"status": "healthy"}), shown("model_loaded")) == (1, 1)
    source.live = other
    setattr(source, where, error)
    clock.now += 5
    service.poll()
    assert (shown("service_health", {"status": "degraded"}), shown("model_loaded")) == (1, 1)
    assert metrics.snapshot()["reload_failures"] == {reason: 1}
    assert shown("registry_read_age_seconds") == (0 if was_read else 5)


def test_lasting_failure_is_logged_once(release: Release, caplog: pytest.LogCaptureFixture) -> None:
    """However many polls fail for the same reason, the log has one line, with the version that is served meanwhile."""
    source = FakeSource(release)
    service, _ = service_of(source)
    service.poll()
    source.fail_champion = TrackingError("the store is away")
    for _ in range(3):
        service.poll()
    (record,) = [record for record in caplog.records if record.getMessage() == "keeping the model"]
    assert vars(record)["reason"] == f"the store is away. {release.model_version} is served meanwhile"


def test_refused_release_is_retried_after_a_pause(release: Release, other: Release) -> None:
    """A refused release waits a growing pause before it is tried again, also if the registry fails meanwhile, and
    delays no sound one."""
    source = FakeSource(release)
    service, metrics = service_of(source, pause=30)
    service.poll()
    source.live = dataclasses.replace(other, model=b"broken")
    for _ in range(10):
        service.poll()
    assert reloads(metrics, "refused") == 1
    source.fail_champion = TrackingError("the store is away")
    service.poll()
    source.fail_champion = None
    service.poll()
    assert reloads(metrics, "refused") == 1
    assert service.state().status == "degraded"
    assert other.model_version in (service.state().reason or "")
    source.live = dataclasses.replace(other, checksum="another")
    service.poll()
    assert (service.state().status, served(service)) == ("healthy", other.model_version)


def test_pauses_grow_up_to_a_limit_and_vary() -> None:
    """With each failure in a row the pause doubles, up to a limit, and varies by a quarter."""
    for failures, doubled in ((1, 2), (2, 4), (5, 32), (6, MAX_PAUSE), (10_000, MAX_PAUSE)):
        pauses = [growing_pause(2, failures) for _ in range(100)]
        assert doubled * 0.75 <= min(pauses) < max(pauses) <= doubled * 1.25
        assert max(pauses) - min(pauses) > doubled * 0.25
    assert growing_pause(3600, 1) >= 3600 * 0.75


def test_model_stays_when_the_alias_is_taken_away(release: Release) -> None:
    """If no version has the alias any more, the model is served as before, and the state is degraded."""
    source = FakeSource(release)
    service, _ = service_of(source)
    service.poll()
    source.live = None
    service.poll()
    assert service.state().status == "degraded"
    assert served(service) == release.model_version
