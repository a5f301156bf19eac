"""The documentation of `/model/info`, as pydantic models. The tests hold the reply to it."""

from typing import Any, Literal

from pydantic import Field

from tabserve.model.task import LabelType
from tabserve.web.schemas import ChallengerReply, Reply


class ModelFeature(Reply):
    name: str
    kind: Literal["number", "category", "boolean", "date"]
    missing: int = Field(description="rows of the table that lack it; unless it is 0, callers may leave it out")
    minimum: float = Field(default=0.0, description="of a number: the smallest value seen in training")
    maximum: float = Field(default=0.0, description="of a number: the largest value seen in training")
    mean: float = Field(default=0.0, description="of a number: the mean in training")
    unit: str = Field(default="", description="of a number: `seconds` if the table has durations")
    categories: dict[str, int] = Field(
        default={}, description="of a category: category → rows in training; if there are many, the 1000 most frequent"
    )
    pooled: dict[str, int] = Field(
        default={}, description="the same for categories that are too rare for the model to tell them apart"
    )
    category_count: int = Field(default=0, description="of a category: how many there are in all")
    trues: int = Field(default=0, description="of a boolean: rows in training that are true")
    falses: int = Field(default=0, description="of a boolean: rows in training that are false")
    first: str = Field(default="", description="of a date: the first one seen in training, as ISO text")
    last: str = Field(default="", description="of a date: the last one seen in training, as ISO text")
    parts: list[str] = Field(default=[], description="of a date: the numbers that the model takes of it")
    importance: float = Field(
        description="as the model itself reports it: impurity, gain or coefficients; all sum to 1, or are 0"
    )


class ModelColumn(Reply):
    """A column of the table, and what the training made of it."""

    name: str
    read_as: str = Field(examples=["number: $1,000 is 1000"])
    becomes: str = Field(description="what the model gets of it")
    lost: str = Field(description="what the model doesn't get; empty if that is nothing")
    undo: str = Field(description="the option of the training that keeps what is lost")


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
    task: Literal["classification", "regression"]
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
    classes: list[str] = Field(default=[], description="of a classification, in the order of the probabilities")
    label_type: LabelType = Field(default="text", description="of a classification: the type of `label` in a reply")
    target_minimum: float = Field(default=0.0, description="of a number: the smallest one in training")
    target_maximum: float = Field(default=0.0, description="of a number: the largest one in training")
    target_spread: float = Field(default=0.0, description="of a number: the standard deviation in training")
    target_deciles: list[float] = Field(default=[], description="of a number: the deciles in training")
    coverage: float = Field(description="for which share of the rows an interval or a prediction set holds the truth")
    threshold: float | None = Field(
        default=None, description="of two classes: from which probability on `positive` is predicted; null: the larger"
    )
    positive: str | None = Field(default=None, description="the class that the threshold is about")
    least_probability: float = Field(
        default=0.0, description="of a classification: a class with this probability is in the prediction set"
    )
    interval_bounds: list[float] = Field(
        default=[],
        description="of a number: up to which prediction each of `interval_radii` holds; the last has no end",
    )
    interval_radii: list[float] = Field(default=[], description="of a number: half the width of the intervals")
    interval_minimum: float | None = Field(
        default=None, description="of a number: no interval begins below; null if there is no such bound"
    )
    features: list[ModelFeature]
    parameters: dict[str, Any]
    metrics: dict[str, float]
    dataset: dict[str, Any]
    by_class: dict[str, ModelClass] = Field(description="class → how common it is, and how good the model is at it")
    interval_coverage: ModelEstimate | None = Field(
        default=None, description="of a number: the share of the held-out rows that the intervals hold"
    )
    left_out: dict[str, str] = Field(description="column of the table that is no feature → the reason")
    columns: list[ModelColumn] = Field(description="what was made of each column of the table")
    limits: list[str] = Field(description="what the model is not good for")
    libraries: dict[str, str]
    git_commit: str
    checksum: str = Field(description="SHA-256 of the release's manifest, which holds the checksums of its files")
