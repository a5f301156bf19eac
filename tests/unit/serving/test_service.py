"""The service hands every record to its observers."""

import numpy as np
import pytest

from tabserve.inference import BatchPrediction, Prediction, Record, predict, predict_batch
from tabserve.model import Release, Rows
from tests.support.models import ROW
from tests.support.sources import FakeSource, service_of


class Failing:
    def observe(self, prediction: Prediction) -> None:
        raise ZeroDivisionError(prediction)

    def observe_batch(self, batch: BatchPrediction) -> None:
        raise ZeroDivisionError(batch)


class Listening:
    def __init__(self) -> None:
        self.records: list[Record] = []

    def observe(self, prediction: Prediction) -> None:
        self.records.append(prediction)

    def observe_batch(self, batch: BatchPrediction) -> None:
        self.records.append(batch)


def test_failing_observer_is_counted_and_stops_nobody(release: Release, caplog: pytest.LogCaptureFixture) -> None:
    """If one observer fails, the others get the record, the failure is logged with the observer's name and counted, and
    nothing is raised."""
    listening = Listening()
    service, metrics = service_of(FakeSource(release), Failing(), listening)
    service.poll()
    predictor = service.state().model().predictor
    records: list[Record] = [predict(predictor, ROW, 0), predict_batch(predictor, Rows(np.ones((2, 4))), 0)]
    for record in records:
        service.record(record)
    assert listening.records == records
    logged = [record for record in caplog.records if record.getMessage() == "an observer failed"]
    assert [vars(record)["observer"] for record in logged] == ["Failing", "Failing"]
    assert metrics.registry.get_sample_value("observer_errors_total") == 2
