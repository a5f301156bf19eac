"""`predict_batch`: what the record of a batch holds, and its rows one by one."""

import re
import time

import numpy as np
import pytest

from tabserve.inference import BatchPrediction, predict, predict_batch
from tabserve.model import ClassOutcomes, Predictor, Release, Rows, Value
from tests.support.models import Trained

SIZES: list[float | None] = [1.0, 6.0, None, 6.0, 99.0, 6.0]
COLOURS = ["red", "blue", "blue", "red", "blue", "green"]
INPUTS: list[dict[str, Value]] = [{"size": size, "colour": colour} for size, colour in zip(SIZES, COLOURS, strict=True)]
COUNT = len(INPUTS)


@pytest.fixture(scope="module")
def rows(predictor: Predictor) -> Rows:
    return predictor.schema.rows({"size": SIZES, "colour": COLOURS})


@pytest.fixture(scope="module")
def batch(predictor: Predictor, rows: Rows) -> BatchPrediction:
    return predict_batch(predictor, rows, time.perf_counter() - 2.5)


def test_batch_predicts_each_row_as_if_it_were_alone(predictor: Predictor, batch: BatchPrediction) -> None:
    """Each row of a batch has the inputs, the outcome, the model version and the warnings that it has alone, and the
    order stays."""
    in_batch = batch.predictions()
    alone = [predict(predictor, inputs, 0) for inputs in INPUTS]
    assert len(batch) == len(in_batch) == COUNT
    for row, single in zip(in_batch, alone, strict=True):
        assert row.inputs == single.inputs
        assert row.outcome == single.outcome
        assert row.model_version == single.model_version
        assert row.warnings == single.warnings


def test_batch_of_a_trained_model_equals_its_rows_alone(trained: Trained, release: Release) -> None:
    """The same holds for a trained forest and all held-out rows, which another kernel predicts than a row alone."""
    predictor, frame = Predictor(release), trained.parts.held_out.features
    in_batch = predict_batch(predictor, Rows(frame.to_numpy()), 0).predictions()
    for row, values in zip(in_batch, frame.to_dict("records"), strict=True):
        alone = predict(predictor, {str(feature): value for feature, value in values.items()}, 0)
        assert (row.inputs, row.outcome, row.warnings) == (alone.inputs, alone.outcome, alone.warnings)


def test_batch_holds_the_inputs_as_sent(batch: BatchPrediction) -> None:
    """An unknown category keeps its text, and a missing value is null."""
    assert [row.inputs for row in batch.predictions()] == INPUTS


def test_rows_share_timestamp_and_latency_of_the_batch(batch: BatchPrediction) -> None:
    """The timestamp and the latency of a row are those of its batch. The latency counts from `started`."""
    assert {row.timestamp for row in batch.predictions()} == {batch.timestamp}
    assert {row.latency_ms for row in batch.predictions()} == {batch.latency_ms}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", batch.timestamp)
    assert 2500 < batch.latency_ms < 60_000


def test_rows_are_named_after_the_batch(batch: BatchPrediction) -> None:
    """The id of a row is the id of the batch and the number of the row, from 0."""
    assert re.fullmatch(r"[0-9a-f]{32}", batch.batch_id)
    assert [row.prediction_id for row in batch.predictions()] == [f"{batch.batch_id}-{i}" for i in range(COUNT)]


def test_batch_ids_are_unique(predictor: Predictor, rows: Rows) -> None:
    """Two batches of the same rows have different ids."""
    assert len({predict_batch(predictor, rows, 0).batch_id for _ in range(100)}) == 100


@pytest.mark.parametrize("count", [0, 1, 2, COUNT, COUNT + 100])
def test_newest_rows_keep_their_numbers(batch: BatchPrediction, count: int) -> None:
    """`newest` gives the last rows under the numbers that they have in the batch, and at most all of them."""
    newest = batch.newest(count)
    expected = batch.predictions()[max(0, COUNT - count) :]
    assert len(newest) == len(expected)
    assert newest.predictions() == expected


def test_newest_of_the_newest_keep_their_numbers(batch: BatchPrediction) -> None:
    """Taking the newest rows twice gives the same records as once."""
    assert batch.newest(4).newest(2).predictions() == batch.newest(2).predictions()


def test_newest_rows_own_their_memory(batch: BatchPrediction) -> None:
    """The newest rows share no array with the batch, so that a history of them doesn't keep whole batches in memory."""
    newest = batch.newest(2)
    assert not np.shares_memory(newest.rows.values, batch.rows.values)
    assert isinstance(newest.outcomes, ClassOutcomes)
    assert isinstance(batch.outcomes, ClassOutcomes)
    assert not np.shares_memory(newest.outcomes.prediction_proba, batch.outcomes.prediction_proba)
    assert len(newest.rows.texts["colour"]) == 2
