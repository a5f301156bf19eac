"""The challenger: watched beside what is live, told truly, and never in a caller's way."""

import dataclasses
import logging
from collections.abc import Iterator

import numpy as np
import pytest
import requests

from classifier import challenger, comparison
from classifier.answer import predict, predict_batch
from classifier.errors import TrackingError
from classifier.metrics import MAX_VERSIONS, Metrics
from classifier.predictor import Predictor
from classifier.record import Batch, Prediction
from classifier.release import Release
from classifier.schema import Schema
from classifier.service import Service
from tests.conftest import FakeSource, Trained, Workspace, until
from tests.test_api_process import serving, version
from tests.test_service import ROW, reloads

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
    service.look()
    yield service
    service._challenge.close()


def score(service: Service) -> None:
    assert service._challenge.shadow
    service._challenge.shadow.score()


def tally(service: Service) -> comparison.Tally:
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
        service.record(predict(service.live(b"%d" % number).predictor, values, 0))
    service.record(predict_batch(service.live().predictor, rows[250:], 0))
    score(service)
    truth = comparison.difference(live.probabilities(rows), watched.probabilities(rows))
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
    """What waits is bounded, whatever comes; the rest is counted as skipped, and nobody waits for it."""
    answered = predict(service.live().predictor, ROW, 0)
    batch = predict_batch(service.live().predictor, drawn(2 * challenger.ROWS), 0)
    events: list[Prediction | Batch] = [answered, batch, *[answered] * challenger.ROWS, batch]
    for event in events:
        service.record(event)
    score(service)
    rows = tally(service).rows
    assert (sum(rows.values()), rows["failed"]) == (1 + 5 * challenger.ROWS, 0)
    assert rows["agreed"] + rows["differed"] == challenger.ROWS


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


def test_a_challenger_that_is_refused_is_a_reason(source: FakeSource, candidate: Release) -> None:
    """A damaged candidate is refused and counted, says why, isn't tried at full speed, and leaves health alone; a
    sound one takes its place."""
    source.candidate = dataclasses.replace(candidate, forest=b"broken")
    metrics = Metrics()
    service = Service(source, metrics, (), 30, share=1.0)
    for _ in range(5):
        service.look()
    state = service.state()
    assert (state.status, state.share, reloads(metrics, "refused")) == ("healthy", 0.0, 1)
    assert state.challenger
    assert (state.challenger.reason or "").startswith("refused: ")
    assert service.live(b"anyone").predictor.model_version != candidate.model_version
    source.candidate = dataclasses.replace(candidate, checksum="another")
    service.look()
    assert tally(service)
    service._challenge.close()


@pytest.mark.parametrize("error", [TrackingError("it has no tag"), RuntimeError("something else")])
def test_without_a_look_at_the_challenger_all_is_well(
    source: FakeSource, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """If the registry can't say who the challenger is, that is in the log once, and the service healthy."""
    source.fail_candidate = error
    service = Service(source, Metrics(), (), 0.01)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            service.look()
    assert (service.state().status, caplog.text.count("no look at the challenger")) == ("healthy", 1)


def test_what_cannot_be_compared_is_not(source: FakeSource, candidate: Release) -> None:
    """A challenger with other classes, or that is live itself, isn't scored, answers nobody, and the reason says so."""
    schema = candidate.schema
    other = Schema(target=schema.target, features=schema.features, classes=("a", "b", "c"))
    manifest = candidate.manifest.model_copy(update={"data_schema": other})
    for odd, said in (
        (dataclasses.replace(candidate, manifest=manifest, checksum="c"), "other classes (a, b, c)"),
        (source.live, "it is what is live"),
    ):
        source.candidate = odd
        service = Service(source, Metrics(), (), 0.01, share=1.0)
        service.look()
        state = service.state()
        assert state.challenger
        assert said in (state.challenger.reason or "")
        assert (state.challenger.tally, state.share, service._challenge.shadow) == (None, 0.0, None)
        assert service.live(b"anyone") is state.live


def test_the_pair_follows_the_registry(service: Service, source: FakeSource, release: Release) -> None:
    """A new champion is compared anew, and answers all callers until it is; without a challenger there is no shadow,
    and its thread ends."""
    first, old = tally(service), service._challenge.shadow
    source.live = dataclasses.replace(
        release, manifest=release.manifest.model_copy(update={"model_version": "20260109_000000"}), checksum="new"
    )
    service.look()
    assert tally(service) is not first
    assert tally(service).champion == "20260109_000000"
    assert old
    now = service._challenge.shadow
    assert now
    source.candidate = None
    service.look()
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
        given = {caller: one.answering(caller) for caller in callers}
        return {caller for caller, live in given.items() if live and live.predictor.release is candidate}

    assert 0.27 < len(chosen(0.3)) / len(callers) < 0.33
    assert chosen(0.3) == chosen(0.3)
    assert chosen(0.05) < chosen(0.3) < chosen(0.6)
    assert (len(chosen(0.0)), len(chosen(1.0))) == (0, len(callers))
    assert dataclasses.replace(state, share=1.0).answering(b"") is state.live


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
    with serving(workspace, CLASSIFIER_CHALLENGER_SHARE="0.5") as (url, _):
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
