"""Metadata of a model: how it was trained, how good it is, and where it comes from. One typed object.

Training fills it, the release stores it, `/model/info` and the model card show it. Nothing here decides how a model
predicts.
"""

from pydantic import BaseModel, ConfigDict, FiniteFloat

Scalar = bool | int | float | str | None


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Estimate(Frozen):
    """A metric between 0 and 1, measured on the held-out rows, with its 95 % confidence interval."""

    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat


class ClassFacts(Frozen):
    """One class: how common it is in the table, and how good the model is at it on the held-out rows.

    Attributes:
        rows: rows of the table that have this class.
        share: the same as a share of all rows, from 0 to 1.
        held_out_rows: held-out rows that have this class.
    """

    rows: int
    share: FiniteFloat
    held_out_rows: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


class DatasetFacts(Frozen):
    """The table in numbers. `sha256` says whether another table is the same one; `classes` is None if the target is a
    number."""

    name: str
    rows: int
    training_rows: int
    held_out_rows: int
    features: int
    classes: int | None = None
    sha256: str


NOT_USED = "not used"
"""What a column becomes that is no feature."""


class ColumnFacts(Frozen):
    """A column of the table that isn't the target: what the training made of it.

    Attributes:
        read_as: its kind, and after a colon how its texts were read, or why it isn't used.
        becomes: what the model gets of it.
        lost: what the model doesn't get; empty if that is nothing.
        undo: the option of the training that keeps what is lost.
    """

    name: str
    read_as: str
    becomes: str
    lost: str = ""
    undo: str = ""


class ModelMetadata(Frozen):
    """What people and tools need to know of a model.

    Attributes:
        model_type: scikit-learn's names of the steps, joined by " + ".
        trained_at: ISO 8601, UTC.
        parameters: hyperparameters, and the options that decide which rows were held out.
        metrics: every metric by its flat name, such as `test_accuracy`.
        feature_importances: model feature → importance, as the model itself reports it; they sum to 1, or all are 0.
        confusion_matrix: a row per true class, a column per predicted class.
        by_class: class → its rows, and how good the model is at it.
        interval_coverage: of a number, the share of the held-out rows that the intervals hold.
        left_out: column of the table that is no feature → the reason.
        columns: what was made of each column of the table, in its order.
        limits: what the model is not good for, in sentences.
        libraries: library → version that trained the model.
    """

    model_name: str
    model_version: str
    run_id: str
    model_type: str
    trained_at: str
    parameters: dict[str, Scalar]
    metrics: dict[str, FiniteFloat]
    feature_importances: dict[str, FiniteFloat]
    dataset: DatasetFacts
    confusion_matrix: list[list[int]] = []
    by_class: dict[str, ClassFacts] = {}
    interval_coverage: Estimate | None = None
    left_out: dict[str, str] = {}
    columns: list[ColumnFacts] = []
    limits: list[str] = []
    libraries: dict[str, str]
    git_commit: str
