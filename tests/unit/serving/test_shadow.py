"""The shadow: it scores what callers were answered, within bounds, and counts what it leaves out."""

import dataclasses

import numpy as np
import pytest

from tabserve.inference import Record, predict, predict_batch
from tabserve.model import Matrix, Predictor, Rows
from tabserve.monitoring import compare_outputs
from tabserve.serving import LoadedModel, Service
from tabserve.serving.shadow import MAX_BATCHES, MAX_SINGLE_ROWS, ROWS_AT_ONCE
from tests.support.models import ROW
from tests.support.sources import FakeSource


def champion(service: Service) -> Predictor:
    return service.state().model().predictor


def challenger(service: Service) -> LoadedModel:
    challenger = service.state().challenger
    assert challenger
    assert challenger.model
    return challenger.model


def results(service: Service) -> dict[str, int]:
    """How many rows came to which result."""
    challenger = service.state().challenger
    assert challenger
    assert challenger.comparison
    return challenger.comparison.rows()


def score(service: Service) -> None:
    assert service._challenger.shadow
    service._challenger.shadow.score()


def random_rows(count: int) -> Matrix:
    return np.random.default_rng(0).uniform([4, 2, 1, 0], [8, 4.5, 7, 2.5], (count, 4))


def test_answered_rows_are_scored_by_both_models(service: Service, source: FakeSource) -> None:
    """Of rows that were answered alone and in a batch, by the champion and by the challenger, agreement and distances
    are those of the two models on these rows; both models are timed."""
    assert source.live
    assert source.candidate
    rows = random_rows(300)
    for number, row in enumerate(rows[:250]):
        values = dict(zip(source.live.schema.feature_names, row.tolist(), strict=True))
        service.record(predict(service.state().model_for(b"%d" % number).predictor, values, 0))
    service.record(predict_batch(champion(service), Rows(rows[250:]), 0))
    score(service)
    outputs = [Predictor(release).outputs(rows) for release in (source.live, source.candidate)]
    truth = compare_outputs(source.live.schema.task, outputs[0], source.candidate.schema.task, outputs[1])
    differed = truth.changed.sum()
    assert 0 < differed < 300
    state = service.state().challenger
    assert state
    assert state.comparison
    summary = state.comparison.summary()
    assert summary["rows"] == {"agreed": 300 - differed, "differed": differed, "skipped": 0, "failed": 0}
    assert summary["probability_distance"]["mean"] == pytest.approx(truth.distance.mean(), abs=1e-6)
    assert summary["probability_distance"]["largest"] == pytest.approx(truth.distance.max(), abs=1e-6)
    assert all(latency["p50"] > 0 for latency in summary["latency_ms"].values())
    assert set(summary["latency_ms"]) == {source.live.model_version, source.candidate.model_version}


def test_rows_that_come_too_fast_are_skipped_and_counted(service: Service) -> None:
    """However much is answered, what waits is bounded, and batches crowd out no single rows; the rest counts as
    skipped."""
    single = predict(champion(service), ROW, 0)
    batch = predict_batch(champion(service), Rows(random_rows(2 * ROWS_AT_ONCE)), 0)
    records: list[Record] = [single, batch] * (MAX_SINGLE_ROWS + 50)
    for record in records:
        service.record(record)
    score(service)
    rows = results(service)
    scored = MAX_SINGLE_ROWS + MAX_BATCHES * ROWS_AT_ONCE
    assert rows["agreed"] + rows["differed"] == scored
    assert rows["skipped"] == (MAX_SINGLE_ROWS + 50) * (1 + 2 * ROWS_AT_ONCE) - scored


def test_rows_of_another_version_are_skipped(service: Service) -> None:
    """Rows that a model answered which is no longer one of the two count as skipped."""
    service.record(predict(champion(service), ROW, 0)._replace(model_version="20250101_000000"))
    batch = predict_batch(champion(service), Rows(random_rows(3)), 0)
    service.record(dataclasses.replace(batch, model_version="20250101_000000"))
    score(service)
    assert results(service) == {"agreed": 0, "differed": 0, "skipped": 4, "failed": 0}


def test_failing_challenger_touches_no_caller(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If the challenger raises while it is scored, callers have their answers, the rows count as failed, the log says
    it once, and the service is healthy."""
    monkeypatch.setattr(challenger(service).predictor, "outputs", lambda _: 1 // 0)
    for _ in range(3):
        service.record(predict(champion(service), ROW, 0))
        score(service)
    assert results(service)["failed"] == 3
    assert caplog.text.count("ZeroDivisionError") == 1
    assert service.state().status == "healthy"


def test_only_rows_that_failed_count_as_failed(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of rows that are scored in several parts, only those of the part that fails count as failed."""
    predictor, errors = challenger(service).predictor, iter([ZeroDivisionError()])
    outputs = predictor.outputs

    def fail_once(rows: Matrix) -> Matrix:
        for error in errors:
            raise error
        return outputs(rows)

    monkeypatch.setattr(predictor, "outputs", fail_once)
    for _ in range(3 * ROWS_AT_ONCE):
        service.record(predict(champion(service), ROW, 0))
    score(service)
    rows = results(service)
    assert (rows["agreed"] + rows["differed"], rows["failed"]) == (2 * ROWS_AT_ONCE, ROWS_AT_ONCE)
