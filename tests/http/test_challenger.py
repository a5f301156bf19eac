"""The challenger: watched beside what is live, told truly, and never in a caller's way."""

import dataclasses
import logging
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import requests
from starlette.testclient import TestClient

from tabserve.errors import TrackingError
from tabserve.inference.predict import predict, predict_batch
from tabserve.inference.records import BatchPrediction, Prediction
from tabserve.model.predictor import Predictor
from tabserve.model.release import Release
from tabserve.model.schema import Rows, Schema
from tabserve.model.task import Classification
from tabserve.monitoring import comparison
from tabserve.monitoring.metrics import MAX_VERSIONS, Metrics
from tabserve.serving import challenger
from tabserve.serving.service import Service
from tabserve.web.app import create_app
from tests.support.models import ROW, SETTINGS, Trained
from tests.support.servers import serving, version
from tests.support.sources import FakeSource, reloads
from tests.support.waiting import until
from tests.support.workspaces import Workspace

NAMES = ("sepal_length", "sepal_width", "petal_length", "petal_width")


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Another model, which gives other answers."""
    return Trained(trees=3, seed=5).release(tmp_path_factory.mktemp("candidate") / "release", "20260103_000000")


@pytest.fixture
def source(release: Release, candidate: Release) -> FakeSource:
    source = FakeSource(release)
    source.candidate = candidate
    return source


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shadow scores when a test says so, and not by its clock."""
    monkeypatch.setattr(challenger, "PAUSE", 3600)


@pytest.fixture
def service(source: FakeSource) -> Iterator[Service]:
    service = Service(source, Metrics(), (), 0.01, share=0.3)
    look(service)
    yield service
    service._challenge.close()


def look(service: Service) -> None:
    service.poll()
    service.poll_challenger()


def score(service: Service) -> None:
    assert service._challenge.shadow
    service._challenge.shadow.score()


def tally(service: Service) -> comparison.ShadowComparison:
    watched = service.state().challenger
    assert watched
    assert watched.tally
    return watched.tally


def drawn(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform([4, 2, 1, 0], [8, 4.5, 7, 2.5], (count, 4))


def test_what_is_answered_is_scored_by_both(service: Service, source: FakeSource) -> None:
    """Of rows that were answered, alone and in a batch, by what is live and by the challenger, agreement and distances
    are those of the two models on these rows; both are timed."""
    assert source.live
    assert source.candidate
    live, watched = Predictor(source.live), Predictor(source.candidate)
    rows = drawn(300)
    for number, row in enumerate(rows[:250]):
        values = dict(zip(NAMES, row.tolist(), strict=True))
        service.record(predict(service.state().model_for(b"%d" % number).predictor, values, 0))
    service.record(predict_batch(service.live().predictor, Rows(rows[250:]), 0))
    score(service)
    truth = comparison.difference(live.outputs(rows), watched.outputs(rows))
    assert 0 < truth.changed.sum() < 300
    summary = tally(service).summary()
    assert summary["rows"] == {
        "agreed": 300 - truth.changed.sum(), "differed": truth.changed.sum(), "skipped": 0, "failed": 0,
    }  # fmt: skip
    assert summary["probability_distance"]["mean"] == pytest.approx(truth.distance.mean(), abs=1e-6)
    assert summary["probability_distance"]["largest"] == pytest.approx(truth.distance.max(), abs=1e-6)
    assert all(latency["p50"] > 0 for latency in summary["latency_ms"].values())
    assert set(summary["latency_ms"]) == {source.live.model_version, source.candidate.model_version}


def test_what_comes_too_fast_is_left_out(service: Service) -> None:
    """What waits is bounded, whatever comes, and batches crowd out no single rows; the rest is counted as skipped."""
    answered = predict(service.live().predictor, ROW, 0)
    batch = predict_batch(service.live().predictor, Rows(drawn(2 * challenger.PIECE)), 0)
    events: list[Prediction | BatchPrediction] = [answered, batch] * (challenger.SINGLES + 50)
    for event in events:
        service.record(event)
    score(service)
    rows = tally(service).rows
    compared = challenger.SINGLES + challenger.BATCHES * challenger.PIECE
    assert rows["agreed"] + rows["differed"] == compared
    assert rows["skipped"] == (challenger.SINGLES + 50) * (1 + 2 * challenger.PIECE) - compared


def test_a_challenger_that_fails_touches_no_caller(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When it raises, callers have their answers, the rows count as failed, the log says it once, health is well."""
    watched = service.state().challenger
    assert watched
    assert watched.live
    monkeypatch.setattr(watched.live.predictor, "probabilities", lambda _: 1 // 0)
    for _ in range(3):
        service.record(predict(service.live().predictor, ROW, 0))
        score(service)
    assert tally(service).rows["failed"] == 3
    assert caplog.text.count("ZeroDivisionError") == 1
    assert service.state().status == "healthy"


def test_only_what_fails_counts_as_failed(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of rows that are compared in several pieces one piece that fails is counted as failed, and the others as they
    are."""
    watched = service.state().challenger
    assert watched
    assert watched.live
    predictor, errors = watched.live.predictor, iter([ZeroDivisionError()])
    outputs = predictor.outputs

    def fail_once(rows: np.ndarray) -> np.ndarray:
        for error in errors:
            raise error
        return outputs(rows)

    monkeypatch.setattr(predictor, "outputs", fail_once)
    for _ in range(3 * challenger.PIECE):
        service.record(predict(service.live().predictor, ROW, 0))
    score(service)
    rows = tally(service).rows
    assert (rows["agreed"] + rows["differed"], rows["failed"]) == (2 * challenger.PIECE, challenger.PIECE)


def test_a_challenger_that_fails_to_answer_is_asked_no_more(
    source: FakeSource, candidate: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails to answer a caller, what is live answers that one and all others, and /model/info says why; another
    one may answer."""
    everyone = SETTINGS.model_copy(update={"challenger_share": 1.0})
    row_outputs = Predictor.row_outputs

    def fail(self: Predictor, row: Sequence[float]) -> tuple[list[float], bool]:
        if self.model_version == candidate.model_version:
            raise ZeroDivisionError("by zero")
        return row_outputs(self, row)

    with TestClient(create_app(everyone, source)) as client:

        def told() -> Any:
            return client.get("/model/info").json()["challenger"] or {}

        def answering() -> Any:
            return client.post("/predict", json=ROW, headers={"X-Caller-Key": "me"}).json()["model_version"]

        until(lambda: client.get("/readyz").status_code == 200 and told().get("share") == 1.0)
        assert answering() == candidate.model_version
        monkeypatch.setattr(Predictor, "row_outputs", fail)
        for _ in range(3):
            assert source.live
            assert answering() == source.live.model_version
        until(lambda: told()["since"] is None)  # it isn't kept either
        assert (told()["reason"], told()["share"]) == ("it failed to answer: ZeroDivisionError('by zero')", 0.0)
        monkeypatch.setattr(Predictor, "row_outputs", row_outputs)
        source.candidate = dataclasses.replace(candidate, checksum="another")
        until(lambda: told()["share"] == 1.0)
        assert client.get("/health").json()["status"] == "healthy"


def test_a_challenger_that_is_refused_is_a_reason(source: FakeSource, candidate: Release) -> None:
    """A damaged candidate is a reason, isn't tried at full speed, and neither health nor what counts the refusals of
    champions knows of it; a sound one takes its place."""
    source.candidate = dataclasses.replace(candidate, model=b"broken")
    metrics = Metrics()
    service = Service(source, metrics, (), 30, share=1.0)
    for _ in range(5):
        look(service)
    state = service.state()
    assert (state.status, state.share, reloads(metrics, "refused"), source.fetched) == ("healthy", 0.0, 0, 2)
    assert state.challenger
    assert (state.challenger.reason or "").startswith("refused: ")
    assert state.model_for(b"anyone") is state.live
    source.candidate = dataclasses.replace(candidate, checksum="another")
    look(service)
    assert tally(service)
    service._challenge.close()


@pytest.mark.parametrize("error", [TrackingError("it has other tags"), RuntimeError("something else")])
def test_without_a_look_at_the_challenger_all_is_well(
    service: Service, source: FakeSource, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """If the registry can't say who the challenger is, that is a reason, and in the log once; it answers nobody, and
    the service is healthy. While the registry says nothing at all, everything stays as it is."""
    source.fail_champion = TrackingError("the store is away")
    before = service.state()
    look(service)
    assert (service.state().challenger, service.state().challenger_share) == (before.challenger, before.share)
    source.fail_champion, source.fail_candidate = None, error
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            look(service)
    state = service.state()
    assert (state.status, state.share, caplog.text.count("challenger not compared")) == ("healthy", 0.0, 1)
    assert caplog.text.count("Traceback") <= 1
    assert state.challenger
    assert (state.challenger.version, state.challenger.reason) == (None, str(error))


def test_a_challenger_that_stalls_holds_up_no_champion(
    source: FakeSource, release: Release, candidate: Release
) -> None:
    """While the challenger's release is waited for, another champion becomes live."""
    source.candidate, loading, go_on = candidate, threading.Event(), threading.Event()

    def stall() -> None:
        if threading.current_thread().name == "follow-challenger":
            loading.set()
            assert go_on.wait(30)

    source.on_fetch = stall
    service = Service(source, Metrics(), (), 0.01)
    service.start()
    try:
        assert loading.wait(10)
        source.live = other_version(release, "20260109_000000")
        until(lambda: service.live().predictor.model_version == "20260109_000000")
        go_on.set()
        until(lambda: service.state().challenger is not None)
        until(lambda: tally(service).champion == "20260109_000000")
    finally:
        go_on.set()
        service.stop()


def other_version(release: Release, model_version: str) -> Release:
    """The same under another name."""
    manifest = release.manifest.model_copy(update={"model_version": model_version})
    return dataclasses.replace(release, manifest=manifest, checksum=model_version)


def test_what_cannot_be_compared_is_not(source: FakeSource, candidate: Release) -> None:
    """A challenger with other classes, or that is live itself, isn't scored, answers nobody, and the reason says so."""
    schema = candidate.schema
    other = Schema(target=schema.target, features=schema.features, task=Classification(classes=("a", "b", "c")))
    manifest = candidate.manifest.model_copy(update={"data_schema": other})
    for odd, said in (
        (dataclasses.replace(candidate, manifest=manifest, checksum="c"), "other classes (a, b, c)"),
        (source.live, "it is what is live"),
    ):
        source.candidate = odd
        service = Service(source, Metrics(), (), 0.01, share=1.0)
        look(service)
        state = service.state()
        assert state.challenger
        assert said in (state.challenger.reason or "")
        assert (state.challenger.tally, state.share, service._challenge.shadow) == (None, 0.0, None)
        assert state.model_for(b"anyone") is state.live


def test_the_pair_follows_the_registry(service: Service, source: FakeSource, release: Release) -> None:
    """A new champion is compared anew, and answers all callers until it is; without a challenger there is no shadow,
    and its thread ends."""
    first, old = tally(service), service._challenge.shadow
    source.live = other_version(release, "20260109_000000")
    service.poll()
    assert service.state().challenger_share == 0
    assert service.state().model_for(b"anyone") is service.state().live
    service.poll_challenger()
    assert service.state().challenger_share == 0.3
    assert tally(service) is not first
    assert tally(service).champion == "20260109_000000"
    assert old
    now = service._challenge.shadow
    assert now
    source.candidate = None
    look(service)
    assert (service.state().challenger, service._challenge.shadow) == (None, None)
    for shadow in (old, now):
        shadow._thread.join(10)
        assert not shadow._thread.is_alive()


def test_callers_keep_their_model(service: Service, candidate: Release) -> None:
    """The challenger answers its share of callers, each of them always the same one; whoever gives no key gets what is
    live, and a larger share keeps those that a smaller one had."""
    callers = [b"caller %d" % number for number in range(5000)]
    state = service.state()
    assert state.share == 0.3

    def chosen(share: float) -> set[bytes]:
        one = dataclasses.replace(state, share=share)
        given = {caller: one.model_for(caller) for caller in callers}
        return {caller for caller, live in given.items() if live and live.predictor.release is candidate}

    assert 0.27 < len(chosen(0.3)) / len(callers) < 0.33
    assert chosen(0.3) == chosen(0.3)
    assert chosen(0.05) < chosen(0.3) < chosen(0.6)
    assert (len(chosen(0.0)), len(chosen(1.0))) == (0, len(callers))
    assert dataclasses.replace(state, share=1.0).model_for(b"") is state.live


def test_tallies_are_bounded() -> None:
    """Of however many pairs the newest are kept, and one that comes back goes on where it was."""
    metrics = Metrics()
    kept = metrics.tally("a", "b")
    for number in range(3 * MAX_VERSIONS):
        metrics.tally("a", str(number))
        assert metrics.tally("a", "b") is kept
    assert metrics.text("")[0].count(b'result="agreed"') == MAX_VERSIONS


def test_a_challenger_in_a_running_server(workspace: Workspace) -> None:
    """Marked while a server runs, a challenger answers its share of callers, and /model/info and /metrics in both forms
    tell what came of it; unmarked, it is gone."""
    (old,) = workspace.versions()
    new = workspace.train("--n-estimators", "3", "--promote", "never")
    with serving(workspace, TABSERVE_CHALLENGER_SHARE="0.5") as (url, _):
        until(lambda: version(url) == old)

        def told(path: str = "/model/info") -> dict:  # type: ignore[type-arg]  # as JSON has it
            found = requests.get(f"{url}{path}", timeout=10).json()["challenger"]
            return found or {}

        assert told() == {}
        done = workspace.run("promote_model.py", "--challenger", new)
        assert done.returncode == 0, done.stderr
        until(lambda: told().get("share") == 0.5)
        row = {"sepal_length": 6.0, "sepal_width": 2.7, "petal_length": 5.1, "petal_width": 1.6}
        answers: dict[str, set[str]] = {}
        for path in ("application/json", "application/json; charset=utf-8"):  # the short way, and the route
            for number in range(40):
                headers = {"X-Caller-Key": f"caller {number}", "Content-Type": path}
                reply = requests.post(f"{url}/predict", json=row, headers=headers, timeout=10).json()
                answers.setdefault(f"caller {number}", set()).add(reply["model_version"])
        assert all(len(versions) == 1 for versions in answers.values())
        assert set().union(*answers.values()) == {old, new}
        assert requests.post(f"{url}/predict", json=row, timeout=10).json()["model_version"] == old
        until(lambda: sum(told()["compared"]["rows"].values()) == 81)
        assert told()["model_version"] == new
        assert told("/metrics")["compared"] == told()["compared"]
        text = requests.get(f"{url}/metrics/prometheus", timeout=10).text
        pair = f'challenger="{new}",champion="{old}"'
        assert f"model_shadow_probability_distance_count{{{pair}}} 81.0" in text
        done = workspace.run("promote_model.py", "--no-challenger")
        assert done.returncode == 0, done.stderr
        until(lambda: told() == {})
        assert requests.get(f"{url}/health", timeout=10).json()["status"] == "healthy"
