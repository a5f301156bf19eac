"""The documentation of replies: one pydantic model per reply. The tests hold every reply to it."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Reply(BaseModel):
    """Base of the documented replies."""

    model_config = ConfigDict(extra="forbid")


class InputWarning(Reply):
    feature: str
    message: str = Field(examples=["9.9 is outside the training range 4.3 to 7.9"])


class PredictReply(Reply):
    prediction: int = Field(description="index of the class in `prediction_proba`", examples=[0])
    prediction_proba: list[float] = Field(
        description="one probability per class; they sum to 1", examples=[[1.0, 0.0, 0.0]]
    )
    confidence: float = Field(description="the probability of `prediction`, which is the largest", examples=[1.0])
    model_version: str = Field(description="the model that predicted", examples=["20241201_143022"])
    timestamp: str = Field(description="ISO 8601, UTC", examples=["2024-12-01T14:31:07.123456+00:00"])
    label: str = Field(description="name of the class", examples=["setosa"])
    prediction_id: str = Field(examples=["0b5c1a6e3f9d4c7f8a2b1c3d4e5f6071"])
    warnings: list[InputWarning] = Field(description="values outside the range seen in training")


class BatchWarning(InputWarning):
    row: int = Field(description="number of the row, from 0")


class BatchReply(Reply):
    """Columns, in the order of the rows in the request."""

    batch_id: str = Field(description="row n has the prediction id `<batch_id>-<n>`")
    model_version: str
    timestamp: str
    prediction: list[int]
    label: list[str]
    confidence: list[float]
    prediction_proba: list[list[float]]
    warnings: list[BatchWarning]


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


class HistoryEntry(PredictReply):
    inputs: dict[str, float | str | None] = Field(description="the features as the caller sent them")
    latency_ms: float = Field(description="from the complete body to the finished prediction")


class HistoryReply(Reply):
    total: int = Field(description="predictions in memory, at most 1000")
    limit: int
    offset: int
    predictions: list[HistoryEntry] = Field(description="the newest first")


class LatencyReply(Reply):
    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None


class ComparedRows(Reply):
    agreed: int = Field(description="both models gave the same class")
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
    agreement: float | None = Field(description="share of the compared rows for which both gave the same class")
    probability_distance: DistanceReply = Field(
        description="total variation distance: 0 means equal probabilities, 1 nothing in common"
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
    mean_confidence: float | None
    latency_ms: LatencyReply = Field(description="of requests to /predict, from the first byte in to the last byte out")
    requests_total: int
    requests: dict[str, dict[str, int]] = Field(description="route → status → requests")
    errors_total: int
    errors: dict[str, dict[str, int]] = Field(description="the same, for statuses from 400 on")
    challenger: ChallengerReply | None = Field(description="null if no version is marked as one")


class ModelFeature(Reply):
    name: str
    kind: Literal["number", "category"]
    missing: int = Field(description="rows of the table that lack it; unless it is 0, callers may leave it out")
    minimum: float = Field(default=0.0, description="of a number: the smallest value seen in training")
    maximum: float = Field(default=0.0, description="of a number: the largest value seen in training")
    mean: float = Field(default=0.0, description="of a number: the mean in training")
    categories: dict[str, int] = Field(
        default={}, description="of a category: category → rows in training; if there are many, the 1000 most frequent"
    )
    pooled: dict[str, int] = Field(
        default={}, description="the same for categories that are too rare for the model to tell them apart"
    )
    category_count: int = Field(default=0, description="of a category: how many there are in all")
    importance: float = Field(
        description="as the model itself reports it: impurity, gain or coefficients; all sum to 1, or are 0"
    )


class ModelEstimate(Reply):
    """A metric on the held-out rows, and its 95 % confidence interval."""

    value: float
    low: float
    high: float


class ModelClass(Reply):
    rows: int = Field(description="rows of the table with this class")
    share: float = Field(description="the same as a share of all rows")
    held_out_rows: int
    precision: ModelEstimate
    recall: ModelEstimate
    f1: ModelEstimate


class DeploymentReply(Reply):
    number: int
    when: str = Field(description="ISO 8601, UTC")
    who: str
    alias: str
    origin: str | None = Field(alias="from", description="registry version; null means none")
    to: str | None
    why: str
    rollback: bool
    recorded: bool = Field(description="false: moved by hand in MLflow, and no command has written that down yet")


class ModelReply(Reply):
    task: Literal["classification"]
    model_version: str
    model_name: str
    model_type: str
    alias: str
    registry_version: str
    run_id: str
    live_since: str
    challenger: ChallengerReply | None = Field(description="null if no version is marked as one")
    journal: list[DeploymentReply] = Field(description="the deployments of the aliases, the newest first, at most 20")
    trained_at: str
    target: str
    classes: list[str]
    features: list[ModelFeature]
    parameters: dict[str, Any]
    metrics: dict[str, float]
    dataset: dict[str, Any]
    by_class: dict[str, ModelClass] = Field(description="class → how common it is, and how good the model is at it")
    left_out: dict[str, str] = Field(description="column of the table that is no feature → the reason")
    limits: list[str] = Field(description="what the model is not good for")
    libraries: dict[str, str]
    git_commit: str
    checksum: str = Field(description="SHA-256 of the release's manifest, which holds the checksums of its files")


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
