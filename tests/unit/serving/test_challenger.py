"""Following the challenger: it is compared with the champion, and its failures never reach a caller."""

import dataclasses
import logging
import threading

import pytest

from tabserve.errors import TrackingError
from tabserve.model import Classification, Release, Schema
from tabserve.monitoring import Metrics, ShadowComparison
from tabserve.serving import Challenger, Service
from tests.support.sources import FakeSource, reloads
from tests.support.waiting import LIMIT, until


def poll(service: Service) -> None:
    service.poll()
    service.poll_challenger()


def challenger(service: Service) -> Challenger:
    challenger = service.state().challenger
    assert challenger
    return challenger


def comparison(service: Service) -> ShadowComparison:
    comparison = challenger(service).comparison
    assert comparison
    return comparison


def renamed(release: Release, model_version: str) -> Release:
    """The same release under another name."""
    manifest = release.manifest.model_copy(update={"model_version": model_version})
    return dataclasses.replace(release, manifest=manifest, checksum=model_version)


def test_refused_challenger_is_a_reason_and_no_failure(source: FakeSource, candidate: Release) -> None:
    """A damaged candidate is a reason. It isn't tried at each poll, and neither the status nor the counter of refused
    champions is affected. A sound candidate takes its place."""
    source.candidate = dataclasses.replace(candidate, model=b"broken")
    metrics = Metrics()
    service = Service(source, metrics, (), 30, challenger_share=1.0)
    for _ in range(5):
        poll(service)
    state = service.state()
    assert (state.status, state.challenger_share) == ("healthy", 0.0)
    assert (reloads(metrics, "refused"), source.fetched) == (0, 2)
    assert (challenger(service).reason or "").startswith("refused: ")
    assert state.model_for(b"anyone") is state.champion
    source.candidate = dataclasses.replace(candidate, checksum="another")
    poll(service)
    assert comparison(service)
    service._challenger.close()


@pytest.mark.parametrize("error", [TrackingError("it has other tags"), RuntimeError("something else")])
def test_registry_that_cannot_name_the_challenger_leaves_the_service_healthy(
    service: Service, source: FakeSource, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is a reason and logged once, the challenger answers nobody, and the service is healthy. While the
    registry can't be asked for the champion, nothing changes."""
    source.fail_champion = TrackingError("the store is away")
    before = service.state()
    poll(service)
    after = service.state()
    assert (after.challenger, after.challenger_share) == (before.challenger, before.challenger_share)
    source.fail_champion, source.fail_candidate = None, error
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            poll(service)
    state = service.state()
    assert (state.status, state.challenger_share) == ("healthy", 0.0)
    assert caplog.text.count("challenger not compared") == 1
    assert caplog.text.count("Traceback") <= 1
    assert (challenger(service).version, challenger(service).reason) == (None, str(error))


def test_challenger_that_takes_long_to_load_delays_no_champion(source: FakeSource, release: Release) -> None:
    """While the challenger's release is loaded, another champion is swapped in."""
    loading, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        if threading.current_thread().name == "poll-challenger":
            loading.set()
            assert go_on.wait(LIMIT)

    source.on_fetch = hang
    service = Service(source, Metrics(), (), 0.01)
    service.start()
    try:
        assert loading.wait(LIMIT)
        source.live = renamed(release, "20260109_000000")
        until(lambda: service.state().model().predictor.model_version == "20260109_000000")
        go_on.set()
        until(lambda: service.state().challenger is not None)
        until(lambda: comparison(service).champion == "20260109_000000")
    finally:
        go_on.set()
        service.stop()


@pytest.mark.parametrize(
    ("candidate_is", "reason"),
    [("a model of other classes", "other classes (a, b, c)"), ("the champion", "it is the champion itself")],
)
def test_model_that_cannot_be_compared_answers_nobody(
    candidate_is: str, reason: str, source: FakeSource, candidate: Release
) -> None:
    """A challenger with other classes, or that is the champion itself, isn't scored, answers nobody, and says why."""
    schema = candidate.schema
    other = Schema(target=schema.target, features=schema.features, task=Classification(classes=("a", "b", "c")))
    manifest = candidate.manifest.model_copy(update={"data_schema": other})
    incompatible = dataclasses.replace(candidate, manifest=manifest, checksum="c")
    source.candidate = source.live if candidate_is == "the champion" else incompatible
    service = Service(source, Metrics(), (), 0.01, challenger_share=1.0)
    poll(service)
    state = service.state()
    assert reason in (challenger(service).reason or "")
    assert (challenger(service).comparison, state.challenger_share, service._challenger.shadow) == (None, 0.0, None)
    assert state.model_for(b"anyone") is state.champion


def test_comparison_follows_the_registry(service: Service, source: FakeSource, release: Release) -> None:
    """A new champion is compared anew, and answers all callers until it is. Without a challenger there is no shadow,
    and its thread ends."""
    first, old_shadow = comparison(service), service._challenger.shadow
    source.live = renamed(release, "20260109_000000")
    service.poll()
    assert service.state().challenger_share == 0
    assert service.state().model_for(b"anyone") is service.state().champion
    service.poll_challenger()
    assert service.state().challenger_share == 0.3
    assert comparison(service) is not first
    assert comparison(service).champion == "20260109_000000"
    new_shadow = service._challenger.shadow
    source.candidate = None
    poll(service)
    assert (service.state().challenger, service._challenger.shadow) == (None, None)
    for shadow in (old_shadow, new_shadow):
        assert shadow
        shadow._thread.join(LIMIT)
        assert not shadow._thread.is_alive()


def test_dropped_challenger_answers_nobody_until_another_is_marked(
    service: Service, source: FakeSource, candidate: Release, caplog: pytest.LogCaptureFixture
) -> None:
    """A challenger that is dropped answers nobody from that moment on, is unloaded by the next poll, and is logged
    once. Another version that is marked is compared again."""
    model = challenger(service).model
    assert model
    for _ in range(2):
        service.drop_challenger(model, ZeroDivisionError("by zero"))
    assert service.state().challenger_share == 0.0
    assert challenger(service).reason == "it failed to answer: ZeroDivisionError('by zero')"
    poll(service)
    assert (challenger(service).model, service.state().challenger_share) == (None, 0.0)
    assert caplog.text.count("challenger given up") == 1
    source.candidate = dataclasses.replace(candidate, checksum="another")
    poll(service)
    assert service.state().challenger_share == 0.3
