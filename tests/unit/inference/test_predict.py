"""Prediction records: what they hold for one row, and for the rows of a batch."""

import time

import pytest

from tabserve.inference import predict, predict_batch
from tabserve.model import Predictor, Release, Rows
from tests.support.models import ROW, Trained


@pytest.fixture(scope="module")
def predictor(release: Release) -> Predictor:
    return Predictor(release)


def test_prediction_is_complete(predictor: Predictor) -> None:
    """A record has the inputs as they were sent, the class by index and name, and a warning for a value outside the
    training range."""
    inputs = ROW | {"petal_width": 9.0}
    record = predict(predictor, inputs, time.perf_counter())
    outcome = record.outcome
    assert record.inputs == inputs
    assert outcome.confidence == max(outcome.prediction_proba) == outcome.prediction_proba[outcome.prediction]
    assert outcome.label == predictor.schema.task.classes[outcome.prediction]
    assert [warning.feature for warning in record.warnings] == ["petal_width"]
    assert 0 < record.latency_ms < 10_000


def test_batch_predicts_each_row_as_if_it_were_alone(trained: Trained, predictor: Predictor) -> None:
    """Each row of a batch gets the outcome that it gets alone, and is named after the batch and its number."""
    rows = trained.parts.held_out.features
    batch = predict_batch(predictor, Rows(rows.to_numpy()), 0)
    assert [row.prediction_id for row in batch.newest(2).predictions()] == [
        f"{batch.batch_id}-{number}" for number in (28, 29)
    ]
    for number, values in enumerate(rows.to_dict("records")):
        alone = predict(predictor, {str(feature): value for feature, value in values.items()}, 0)
        row = batch.predictions()[number]
        assert row.prediction_id == f"{batch.batch_id}-{number}"
        assert row[2:-1] == alone[2:-1]  # all but ids and times
