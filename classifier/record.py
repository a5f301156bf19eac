"""Prediction: the one event of this service, frozen. All that watches (history, metrics) is told this and only this."""

from dataclasses import dataclass
from typing import Protocol

from classifier.schema import InputWarning


@dataclass(frozen=True, slots=True)
class Prediction:
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
        warnings: values outside the training range.
        latency_ms: from the complete body to the finished prediction; for a row of a batch, the whole batch's.
    """

    prediction_id: str
    timestamp: str
    model_version: str
    inputs: dict[str, float]
    prediction: int
    label: str
    prediction_proba: tuple[float, ...]
    confidence: float
    warnings: tuple[InputWarning, ...]
    latency_ms: float


class Observer(Protocol):
    """Whoever wants to know of predictions. It must not block: it is called on the request's path."""

    def observe(self, prediction: Prediction) -> None: ...
