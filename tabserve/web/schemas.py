"""The documentation of replies: one pydantic model per reply. The tests hold every reply to it. That of
`/model/info` is in `model_schemas`."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from tabserve.model.task import Label


class Reply(BaseModel):
    """Base of the documented replies."""

    model_config = ConfigDict(extra="forbid")


class InputWarning(Reply):
    feature: str
    message: str = Field(examples=["9.9 is outside the training range 4.3 to 7.9"])


class PredictedRow(Reply):
    """What a reply has whatever is predicted."""

    model_version: str = Field(description="the model that predicted", examples=["20241201_143022"])
    timestamp: str = Field(description="ISO 8601, UTC", examples=["2024-12-01T14:31:07.123456+00:00"])
    prediction_id: str = Field(examples=["0b5c1a6e3f9d4c7f8a2b1c3d4e5f6071"])
    warnings: list[InputWarning] = Field(description="values outside the range seen in training")


class PredictedClass(PredictedRow):
    prediction: int = Field(description="index of the class in `prediction_proba`", examples=[0])
    prediction_proba: list[float] = Field(
        description="one probability per class; they sum to 1", examples=[[1.0, 0.0, 0.0]]
    )
    confidence: float = Field(
        description="the probability of `prediction`; the largest, unless a threshold is set", examples=[1.0]
    )
    label: Label = Field(description="the class, in the type that the table has for it", examples=["setosa"])
    prediction_set: list[Label] = Field(
        description="labels of which one is the true class for the share `coverage` of the rows", examples=[["setosa"]]
    )
    coverage: float = Field(description="that share", examples=[0.9])


class PredictedNumber(PredictedRow):
    prediction: float = Field(description="the number", examples=[326.5])
    interval: tuple[float, float] = Field(
        description="its lower and its upper bound, between which the true number is", examples=[[301.0, 352.0]]
    )
    coverage: float = Field(
        description="for which share of the rows the interval holds the true number", examples=[0.9]
    )


class PredictReply(RootModel[PredictedClass | PredictedNumber]):
    """The reply of a model of classes, or of a number."""


class BatchWarning(InputWarning):
    row: int = Field(description="number of the row, from 0")


class PredictedRows(Reply):
    """Columns, in the order of the rows in the request."""

    batch_id: str = Field(description="row n has the prediction id `<batch_id>-<n>`")
    model_version: str
    timestamp: str
    warnings: list[BatchWarning]


class PredictedClasses(PredictedRows):
    prediction: list[int]
    label: list[Label]
    confidence: list[float]
    prediction_proba: list[list[float]]
    prediction_set: list[list[Label]]
    coverage: float


class PredictedNumbers(PredictedRows):
    prediction: list[float]
    interval: list[tuple[float, float]]
    coverage: float


class BatchReply(RootModel[PredictedClasses | PredictedNumbers]):
    """The reply of a model of classes, or of a number."""


REPLIES: Mapping[str, Mapping[str, type[Reply]]] = {
    "classification": {"PredictReply": PredictedClass, "BatchReply": PredictedClasses},
    "regression": {"PredictReply": PredictedNumber, "BatchReply": PredictedNumbers},
}
"""Kind of task → the replies of a model of that kind."""


class HealthReply(Reply):
    status: Literal["healthy", "degraded", "unhealthy"]
    model_loaded: bool
    model_version: str | None
    timestamp: str
    uptime_seconds: float
    reason: str | None = Field(description="why it is not healthy, and what to do")


class ProbeReply(Reply):
    status: Literal["alive", "ready", "not ready"]
    reason: str | None = None


class HistoryEntry(Reply):
    inputs: dict[str, bool | float | str | None] = Field(description="the features as the caller sent them")
    latency_ms: float = Field(description="from the complete body to the finished prediction")


class HistoryOfClass(PredictedClass, HistoryEntry):
    """A prediction of a class."""


class HistoryOfNumber(PredictedNumber, HistoryEntry):
    """A prediction of a number."""


class HistoryReply(Reply):
    total: int = Field(description="predictions in memory, at most 1000")
    limit: int
    offset: int
    predictions: list[HistoryOfClass | HistoryOfNumber] = Field(description="the newest first")


class LatencyReply(Reply):
    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None


class ComparedRows(Reply):
    agreed: int = Field(description="both models gave the same class, or numbers within 1 % of the target's spread")
    differed: int
    skipped: int = Field(description="not compared, because they came too fast")
    failed: int = Field(description="not compared, because the comparison failed; the log says why")


class DistanceReply(Reply):
    mean: float | None
    p95: float | None
    largest: float | None


class ModelLatency(Reply):
    mean: float | None
    p50: float | None
    p95: float | None


class ComparedReply(Reply):
    rows: ComparedRows = Field(description="predictions since these two models are compared, in this process")
    agreement: float | None = Field(description="share of the compared rows that agreed")
    probability_distance: DistanceReply | None = Field(
        default=None,
        description="of classes, the total variation distance: 0 means equal probabilities, 1 nothing in common",
    )
    prediction_distance: DistanceReply | None = Field(
        default=None, description="of numbers, the absolute difference as a share of the target's spread"
    )
    latency_ms: dict[str, ModelLatency] = Field(description="model version → the model alone, one row")


class ChallengerReply(Reply):
    """The challenger: a candidate that predicts the same rows again in the background, for comparison."""

    model_version: str | None = Field(description="null if the registry can't say")
    registry_version: str | None
    run_id: str | None
    since: str | None = Field(description="when it was loaded; null if it isn't loaded")
    share: float = Field(description="share of the callers that get its predictions, from 0 to 1")
    reason: str | None = Field(description="why it is not compared, or predicts for no caller")
    compared: ComparedReply | None


class MetricsReply(Reply):
    """Counted by this process since its start. Null means that there is nothing to compute the value from yet."""

    timestamp: str
    uptime_seconds: float
    model_version: str | None
    predictions_total: int
    predictions_by_class: dict[str, int]
    predictions_by_version: dict[str, int]
    predictions_by_range: dict[str, dict[str, int]] = Field(
        description="of numbers: model version → upper bound of a range → rows; the bounds are deciles of the target"
    )
    mean_confidence: float | None
    mean_prediction: float | None = Field(description="of numbers")
    latency_ms: LatencyReply = Field(description="of requests to /predict, from the first byte in to the last byte out")
    requests_total: int
    requests: dict[str, dict[str, int]] = Field(description="route → status → requests")
    errors_total: int
    errors: dict[str, dict[str, int]] = Field(description="the same, for statuses from 400 on")
    challenger: ChallengerReply | None = Field(description="null if no version is marked as one")


class Problem(Reply):
    type: str
    loc: list[str | int] = Field(description="the path to the field", examples=[["body", "sepal_length"]])
    msg: str


class ErrorReply(Reply):
    detail: str
    request_id: str


class ValidationReply(Reply):
    detail: list[Problem]
    request_id: str
