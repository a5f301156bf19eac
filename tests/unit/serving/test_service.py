"""The service: follows the registry, keeps what works, and tells every observer."""

import dataclasses
import logging
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tabserve.errors import NoModelError, ReleaseError, TrackingError
from tabserve.inference.predict import predict, predict_batch
from tabserve.inference.records import BatchPrediction, Prediction
from tabserve.model.release import Release
from tabserve.model.schema import Rows
from tabserve.model.versions import Deployment, RegisteredVersion
from tabserve.serving.service import Service
from tests.support.models import ROW, Trained
from tests.support.sources import FakeSource, make, reloads
from tests.support.waiting import until


def healthy_at_a_look(service: Service) -> bool:
    service.poll()
    return service.state().status == "healthy"


@pytest.fixture
def other(trained: Trained, tmp_path: Path) -> Release:
    return trained.release(tmp_path / "other", "20260102_000000")


def test_without_a_model_it_says_what_to_do() -> None:
    """With nothing registered the service is unhealthy, says what to do, and refuses to predict in the same words."""
    service, _ = make(FakeSource())
    service.poll()
    assert service.state().status == "unhealthy"
    assert service.state().reason == "No model has been trained yet. Train one."
    with pytest.raises(NoModelError, match=r"^No model has been trained yet\. Train one\.$"):
        service.live()


def test_the_first_model_makes_it_healthy_by_itself(release: Release) -> None:
    """A model that is registered while the service runs is served without any call."""
    source = FakeSource()
    service, _ = make(source)
    service.start()
    try:
        until(lambda: "No model" in (service.state().reason or ""))
        source.live = release
        until(lambda: service.state().status == "healthy")
        assert service.live().predictor.model_version == release.model_version
    finally:
        service.stop()


def test_health_never_contradicts_itself(release: Release) -> None:
    """Someone who looks all the time sees the first model go from unhealthy with a reason to healthy without one."""
    source = FakeSource()
    service, _ = make(source)
    seen = set()
    done = threading.Event()

    def look_all_the_time() -> None:
        while not done.is_set():
            state = service.state()
            seen.add((state.status, state.reason is None, state.live is None))

    watcher = threading.Thread(target=look_all_the_time)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        watcher.start()
        service.poll()
        until(lambda: len(seen) == 1)
        source.live = release
        service.poll()
        until(lambda: len(seen) > 1)
    finally:
        sys.setswitchinterval(interval)
        done.set()
        watcher.join()
    assert seen == {("unhealthy", False, True), ("healthy", True, False)}


def test_another_champion_is_swapped_in_once(release: Release, other: Release) -> None:
    """A new champion is loaded once and served; while it stays, nothing is fetched again."""
    source = FakeSource(release)
    service, metrics = make(source)
    service.poll()
    service.poll()
    assert source.fetched == 1
    source.live = other
    for _ in range(3):
        service.poll()
    assert service.live().predictor.model_version == other.model_version
    assert (source.fetched, reloads(metrics, "loaded")) == (2, 2)


def test_the_old_model_answers_while_the_new_one_loads(release: Release, other: Release) -> None:
    """A request that took its model before a swap finishes with it, and requests during the loading are answered."""
    source = FakeSource(release)
    service, _ = make(source)
    service.poll()
    before, loading, go_on = service.live(), threading.Event(), threading.Event()

    def hang() -> None:
        loading.set()
        assert go_on.wait(10)

    source.live, source.on_fetch = other, hang
    thread = threading.Thread(target=service.poll)
    thread.start()
    assert loading.wait(10)
    assert predict(service.live().predictor, ROW, 0).model_version == release.model_version
    go_on.set()
    thread.join()
    assert predict(service.live().predictor, ROW, 0).model_version == other.model_version
    assert predict(before.predictor, ROW, 0).model_version == release.model_version


@pytest.mark.parametrize(
    ("where", "error", "result"),
    [
        ("fail_champion", TrackingError("the store is away"), "unavailable"),
        ("fail_champion", RuntimeError("something else"), "unavailable"),
        ("fail_fetch", ReleaseError("it is damaged"), "refused"),
    ],
)
def test_what_fails_leaves_the_old_model(
    where: str, error: Exception, result: str, release: Release, other: Release, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever fails, the old model goes on, health says degraded and why, and it recovers by itself."""
    source = FakeSource(release)
    service, metrics = make(source)
    service.poll()
    source.live = other
    setattr(source, where, error)
    with caplog.at_level(logging.CRITICAL, "tabserve"):
        service.poll()
    state = service.state()
    assert state.status == "degraded"
    assert str(error) in (state.reason or "")
    assert service.live().predictor.model_version == release.model_version
    assert reloads(metrics, result) == 1
    service.poll()
    assert caplog.text.count("Traceback") <= 1

    setattr(source, where, None)
    until(lambda: healthy_at_a_look(service))
    assert service.live().predictor.model_version == other.model_version


@pytest.mark.parametrize(
    ("where", "error"),
    [("fail_champion", TrackingError("the store is away")), ("fail_fetch", ReleaseError("it is damaged"))],
)
def test_a_cold_start_serves_what_was_live_before(
    where: str, error: Exception, release: Release, other: Release
) -> None:
    """Started while the store is away, or while the champion is damaged, it serves what was live before, says so and
    why, and serves the champion once that can be had. What was live before and is damaged too is passed over."""
    source = FakeSource(release)
    make(source)[0].poll()
    source.live = other
    source.cached_releases = {
        RegisteredVersion(other.model_version, "9", "run", "x"): dataclasses.replace(other, model=b"broken")
    } | source.cached_releases
    setattr(source, where, error)
    service, _ = make(source)
    service.poll()
    assert service.live().predictor.model_version == release.model_version
    assert service.state().status == "degraded"
    assert (
        service.state().reason
        == f"{'refused: ' * (where == 'fail_fetch')}{error}. {release.model_version} is served meanwhile"
    )
    setattr(source, where, None)
    until(lambda: healthy_at_a_look(service))
    assert service.live().predictor.model_version == other.model_version


def test_a_fallback_is_never_called_healthy(release: Release, other: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what was live before, taken at a start, health says degraded from the first moment on."""
    source = FakeSource(release)
    make(source)[0].poll()
    source.live, source.fail_fetch = other, ReleaseError("it is damaged")
    service, metrics = make(source)
    seen = []
    monkeypatch.setattr(metrics, "serving", lambda *_: seen.append(service.state().status))
    service.poll()
    assert set(seen) == {"degraded"}


def test_a_model_that_was_taken_away_does_not_come_back(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the registry answers that there is no champion, nothing is served, however much was live before."""
    monkeypatch.setattr("tabserve.serving.service.IMPATIENCE", 0.05)
    source = FakeSource(release)
    make(source)[0].poll()
    source.live = None
    service, _ = make(source, pause=60)
    service.start()
    until(lambda: "has been trained" in (service.state().reason or ""))
    service._impatient.join(10)
    assert service.state().champion is None
    service.stop()


def test_without_its_journal_it_serves_all_the_same(
    release: Release, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A journal that can't be read is asked for again at each look, is said once, and leaves the service healthy."""
    source = FakeSource(release)

    def refuse() -> list[Deployment]:
        raise TrackingError("the journal is away")

    service, _ = make(source)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "tabserve"):
        patch.setattr(source, "deployments", refuse)
        for _ in range(3):
            service.poll()
    assert (service.state().status, service.deployments(), caplog.text.count("no journal")) == ("healthy", (), 1)
    service.poll()
    assert len(service.deployments()) == 1


def test_what_cannot_be_remembered_does_not_end_the_following(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is wrong with what was live before, the registry is asked again, and its answer is served."""
    source = FakeSource(release)
    source.cached_releases = {RegisteredVersion("x", "1", "run", "x"): release}
    monkeypatch.setattr(source, "cached", lambda _: 1 // 0)
    source.fail_champion = TrackingError("the store is away")
    service, _ = make(source)
    service.poll()
    assert service.state().status == "unhealthy"
    source.fail_champion = None
    service.poll()
    assert service.state().status == "healthy"


def test_a_registry_that_does_not_answer_holds_up_no_start(
    release: Release, other: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the registry stalls, what was live before is served; its answer, when it comes, is what counts."""
    monkeypatch.setattr("tabserve.serving.service.IMPATIENCE", 0.01)
    source = FakeSource(release)
    make(source)[0].poll()
    source.live = other
    go_on = threading.Event()
    source.on_fetch = lambda: (go_on.wait(10), None)[1]
    service, _ = make(source)
    service.start()
    until(lambda: service.state().champion is not None)
    assert service.live().predictor.model_version == release.model_version
    assert "hasn't answered" in (service.state().reason or "")
    go_on.set()
    until(lambda: service.state().status == "healthy")
    assert service.live().predictor.model_version == other.model_version
    service.stop()


def test_a_refused_release_is_not_tried_at_full_speed(release: Release, other: Release) -> None:
    """A refused release waits a growing pause before it is tried again, and doesn't hold up a sound one meanwhile."""
    source = FakeSource(release)
    service, metrics = make(source, pause=30)
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
    assert (service.state().status, service.live().predictor.model_version) == ("healthy", other.model_version)


def test_a_champion_that_is_gone_leaves_the_model(release: Release) -> None:
    """If the alias is taken from every version, the model goes on and health says degraded."""
    source = FakeSource(release)
    service, _ = make(source)
    service.poll()
    source.live = None
    service.poll()
    assert service.state().status == "degraded"
    assert service.live().predictor.model_version == release.model_version


def test_an_observer_that_fails_harms_nobody(release: Release, caplog: pytest.LogCaptureFixture) -> None:
    """When one observer fails, the others are told, it is logged and counted, and nothing is raised."""
    told: list[Prediction | BatchPrediction] = []

    class Failing:
        def observe(self, prediction: Prediction) -> None:
            raise ZeroDivisionError(prediction)

        def observe_batch(self, batch: BatchPrediction) -> None:
            raise ZeroDivisionError(batch)

    class Listening:
        def observe(self, prediction: Prediction) -> None:
            told.append(prediction)

        def observe_batch(self, batch: BatchPrediction) -> None:
            told.append(batch)

    service, metrics = make(FakeSource(release), Failing(), Listening())
    service.poll()
    events: list[Prediction | BatchPrediction] = [predict(service.live().predictor, ROW, 0)]
    events.append(predict_batch(service.live().predictor, Rows(np.ones((2, 4))), 0))
    for event in events:
        service.record(event)
    assert told == events
    assert "an observer failed" in caplog.text
    assert metrics.registry.get_sample_value("observer_errors_total") == 2


def test_a_prediction_is_complete(release: Release) -> None:
    """A prediction has the inputs as received, the class by index and name, and a warning for what is out of range."""
    service, _ = make(FakeSource(release))
    service.poll()
    found = predict(service.live().predictor, ROW | {"petal_width": 9.0}, time.perf_counter())
    assert found.inputs == ROW | {"petal_width": 9.0}
    assert (
        found.outcome.confidence
        == max(found.outcome.prediction_proba)
        == found.outcome.prediction_proba[found.outcome.prediction]
    )
    assert found.outcome.label == release.schema.task.classes[found.outcome.prediction]
    assert [warning.feature for warning in found.warnings] == ["petal_width"]
    assert 0 < found.latency_ms < 10_000


def test_a_batch_is_its_rows(trained: Trained, release: Release) -> None:
    """A batch gives each row the answer it gets alone, named after the batch and its number."""
    service, _ = make(FakeSource(release))
    service.poll()
    predictor = service.live().predictor
    rows = trained.parts.held_out.features
    batch = predict_batch(predictor, Rows(rows.to_numpy()), 0)
    assert [row.prediction_id for row in batch.newest(2).predictions()] == [
        f"{batch.batch_id}-{number}" for number in (28, 29)
    ]
    for number, values in enumerate(rows.to_dict("records")):
        alone = predict(predictor, {str(feature): value for feature, value in values.items()}, 0)
        row = batch.predictions()[number]
        assert row.prediction_id == f"{batch.batch_id}-{number}"
        assert row[2:-1] == alone[2:-1]  # all but names and times
