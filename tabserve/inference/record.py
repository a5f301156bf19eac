"""What happened: one answered row, or one answered batch. All that watches (history, metrics) is told this alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tabserve.model.schema import InputWarning, Matrix, Rows, Schema, Value


class Prediction(NamedTuple):
    """One answered row.

    Attributes:
        prediction_id: unique; 32 hex digits, or those of the batch, a hyphen and the row's number.
        timestamp: ISO 8601, UTC, microseconds.
        model_version: the release that answered.
        inputs: the features by name, as they were received.
        prediction: index of the class in `prediction_proba`.
        label: the class by name.
        prediction_proba: one probability a class; they sum to 1.
        confidence: the largest probability.
        warnings: values unlike those seen in training.
        latency_ms: from the complete body to the finished prediction; for a row of a batch, the whole batch's.
    """

    prediction_id: str
    timestamp: str
    model_version: str
    inputs: Mapping[str, Value]
    prediction: int
    label: str
    prediction_proba: Sequence[float]
    confidence: float
    warnings: Sequence[InputWarning]
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Answered rows, in columns: what a hundred thousand `Prediction` would say.

    Attributes:
        batch_id: unique; 32 hex digits.
        timestamp, model_version, latency_ms: as in `Prediction`.
        schema: names the columns of `rows`, and the classes.
        rows: as they were received.
        prediction: shape (n,), whole numbers.
        prediction_proba: shape (n, classes).
        confidence: shape (n,).
        first: the number of the first row.
    """

    batch_id: str
    timestamp: str
    model_version: str
    schema: Schema
    rows: Rows
    prediction: NDArray[np.intp]
    prediction_proba: Matrix
    confidence: NDArray[np.float64]
    latency_ms: float
    first: int = 0

    def newest(self, count: int) -> "Batch":
        """The last `count` rows, under their numbers, in memory of their own; all of them if there are fewer."""
        left_out = max(0, len(self.rows) - count)
        columns = ("prediction", "prediction_proba", "confidence")
        kept = {name: getattr(self, name)[left_out:].copy() for name in columns}
        return replace(self, first=self.first + left_out, rows=self.rows[left_out:], **kept)

    def predictions(self) -> list[Prediction]:
        """Row by row, in their order."""
        columns = (self.rows.values, self.prediction_proba, self.prediction, self.confidence)
        return [
            Prediction(
                prediction_id=f"{self.batch_id}-{number}",
                timestamp=self.timestamp,
                model_version=self.model_version,
                inputs=inputs,
                prediction=index,
                label=self.schema.classes[index],
                prediction_proba=shares,
                confidence=confidence,
                warnings=self.schema.warnings(row),
                latency_ms=self.latency_ms,
            )
            for number, (inputs, row, shares, index, confidence) in enumerate(
                zip(self.schema.inputs(self.rows), *(column.tolist() for column in columns), strict=True), self.first
            )
        ]


class Observer(Protocol):
    """Whoever wants to know. It must not block, for it is called on the request's path; any thread may call it."""

    def observe(self, prediction: Prediction) -> None: ...
    def observe_batch(self, batch: Batch) -> None: ...
