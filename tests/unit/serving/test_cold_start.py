"""What is served at a start whose champion can't be had: the version that was served before, or nothing."""

import dataclasses
import threading

import pytest

from tabserve.errors import ReleaseError, TrackingError
from tabserve.model import RegisteredVersion, Release
from tests.support.sources import FakeSource, is_healthy_after_a_poll, served, service_of
from tests.support.waiting import LIMIT, until


@pytest.mark.parametrize(
    ("where", "error"),
    [("fail_champion", TrackingError("the store is away")), ("fail_fetch", ReleaseError("it is damaged"))],
)
def test_cold_start_serves_what_was_served_before(
    where: str, error: Exception, release: Release, other: Release
) -> None:
    """If the store is away at a start, or the champion is damaged, the version that was served last is served again,
    with the reason, until the champion can be served. A version that is damaged too is passed over."""
    source = FakeSource(release)
    service_of(source)[0].poll()
    source.live = other
    source.cached_releases = {
        RegisteredVersion(other.model_version, "9", "run", "x"): dataclasses.replace(other, model=b"broken")
    } | source.cached_releases
    setattr(source, where, error)
    service, _ = service_of(source)
    service.poll()
    assert served(service) == release.model_version
    assert service.state().status == "degraded"
    problem = f"{'refused: ' * (where == 'fail_fetch')}{error}"
    assert service.state().reason == f"{problem}. {release.model_version} is served meanwhile"
    setattr(source, where, None)
    until(lambda: is_healthy_after_a_poll(service))
    assert served(service) == other.model_version


def test_fallback_is_never_called_healthy(release: Release, other: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier version that is served at a start is degraded from the first moment on."""
    source = FakeSource(release)
    service_of(source)[0].poll()
    source.live, source.fail_fetch = other, ReleaseError("it is damaged")
    service, metrics = service_of(source)
    seen = []
    monkeypatch.setattr(metrics.service, "serving", lambda *_: seen.append(service.state().status))
    service.poll()
    assert set(seen) == {"degraded"}


def test_model_that_lost_its_alias_does_not_come_back_at_a_start(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the registry answers that there is no champion, nothing is served, whatever was served before."""
    monkeypatch.setattr("tabserve.serving.service.FIRST_ANSWER_SECONDS", 0.05)
    source = FakeSource(release)
    service_of(source)[0].poll()
    source.live = None
    service, _ = service_of(source, pause=60)
    service.start()
    until(lambda: "has been trained" in (service.state().reason or ""))
    service._first_answer.join(LIMIT)
    assert service.state().champion is None
    service.stop()


def test_fallback_yields_to_an_answer_that_comes_while_it_loads(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the registry answers that there is no champion just while an earlier version is loaded, nothing is served."""
    source = FakeSource(release)
    service_of(source)[0].poll()
    source.live = None
    service, _ = service_of(source)
    cached = source.cached

    def answer_meanwhile(version: RegisteredVersion) -> Release:
        service.poll()
        return cached(version)

    monkeypatch.setattr(source, "cached", answer_meanwhile)
    service._champion.stop_waiting(3)
    assert (service.state().status, service.state().champion) == ("unhealthy", None)


def test_remembered_version_that_fails_does_not_end_the_polling(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is wrong with the version that was served before, the registry is asked again, and its answer served."""
    source = FakeSource(release)
    source.cached_releases = {RegisteredVersion("x", "1", "run", "x"): release}
    monkeypatch.setattr(source, "cached", lambda _: 1 // 0)
    source.fail_champion = TrackingError("the store is away")
    service, _ = service_of(source)
    service.poll()
    assert service.state().status == "unhealthy"
    source.fail_champion = None
    service.poll()
    assert service.state().status == "healthy"


def test_registry_that_does_not_answer_delays_no_start(
    release: Release, other: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the registry stalls, the version that was served last is served; the registry's answer replaces it."""
    monkeypatch.setattr("tabserve.serving.service.FIRST_ANSWER_SECONDS", 0.01)
    source = FakeSource(release)
    service_of(source)[0].poll()
    source.live = other
    go_on = threading.Event()

    def hang() -> None:
        assert go_on.wait(LIMIT)

    source.on_fetch = hang
    service, _ = service_of(source)
    service.start()
    until(lambda: service.state().champion is not None)
    assert served(service) == release.model_version
    assert "hasn't answered" in (service.state().reason or "")
    go_on.set()
    until(lambda: service.state().status == "healthy")
    assert served(service) == other.model_version
    service.stop()
