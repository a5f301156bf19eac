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


class ModelMetadata(Frozen):
    """What people and tools need to know of a model.

    Attributes:
        model_type: scikit-learn's names of the steps, joined by " + ".
        trained_at: ISO 8601, UTC.
        parameters: hyperparameters, and the options that decide which rows were held out.
        metrics: every metric by its flat name, such as `test_accuracy`.
        feature_importances: feature → importance, as the model itself reports it; they sum to 1, or all are 0.
        confusion_matrix: a row per true class, a column per predicted class.
        by_class: class → its rows, and how good the model is at it.
        left_out: column of the table that is no feature → the reason.
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
    left_out: dict[str, str] = {}
    limits: list[str] = []
    libraries: dict[str, str]
    git_commit: str
