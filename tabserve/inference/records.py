"""Prediction records: what happened to one row, or to the rows of one batch. Observers get these and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from tabserve.model import InputWarning, Outcome, Outcomes, Rows, Schema, Value


class Prediction(NamedTuple):
    """One predicted row.

    Attributes:
        prediction_id: unique; 32 hex digits, or those of the batch, a hyphen and the number of the row.
        timestamp: ISO 8601, UTC, microseconds.
        model_version: the release that predicted.
        inputs: feature → value, as the caller sent it.
        outcome: the decision, as the task of the model defines it.
        warnings: values outside the range seen in training.
        latency_ms: from the complete body to the finished prediction; for a row of a batch, that of the whole batch.
    """

    prediction_id: str
    timestamp: str
    model_version: str
    inputs: Mapping[str, Value]
    outcome: Outcome
    warnings: Sequence[InputWarning]
    latency_ms: float

    def reply(self) -> dict[str, object]:
        """What the caller gets, by key."""
        reply = self.outcome.reply()
        reply["model_version"] = self.model_version
        reply["timestamp"] = self.timestamp
        reply["prediction_id"] = self.prediction_id
        reply["warnings"] = self.warnings
        return reply


@dataclass(frozen=True, slots=True)
class BatchPrediction:
    """The predicted rows of one batch, as columns. It says what as many `Prediction` would say.

    Attributes:
        batch_id: unique; 32 hex digits.
        timestamp, model_version, latency_ms: as in `Prediction`.
        schema: names the columns of `rows`.
        rows: the rows as the caller sent them.
        outcomes: the decisions, in the order of the rows.
        first_row: the number of the first row.
    """

    batch_id: str
    timestamp: str
    model_version: str
    schema: Schema
    rows: Rows
    outcomes: Outcomes
    latency_ms: float
    first_row: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    def newest(self, count: int) -> "BatchPrediction":
        """The last `count` rows under their own numbers, copied into memory of their own."""
        skipped = max(0, len(self) - count)
        rows = slice(skipped, None)
        return replace(self, rows=self.rows[rows], outcomes=self.outcomes[rows], first_row=self.first_row + skipped)

    def predictions(self) -> list[Prediction]:
        """The same, row by row."""
        outcomes: Sequence[Outcome] = self.outcomes.outcomes()
        rows = zip(self.schema.inputs(self.rows), self.rows.values.tolist(), outcomes, strict=True)
        return [
            Prediction(
                prediction_id=f"{self.batch_id}-{number}",
                timestamp=self.timestamp,
                model_version=self.model_version,
                inputs=inputs,
                outcome=outcome,
                warnings=self.schema.warnings(row),
                latency_ms=self.latency_ms,
            )
            for number, (inputs, row, outcome) in enumerate(rows, self.first_row)
        ]


Record = Prediction | BatchPrediction


class Observer(Protocol):
    """Anything that wants to know of predictions. It runs on the request's path, so it must not block. Any thread may
    call it."""

    def observe(self, prediction: Prediction) -> None: ...
    def observe_batch(self, batch: BatchPrediction) -> None: ...
