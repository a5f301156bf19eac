"""What a person chooses for a training: an estimator with its hyperparameters, and the roles of the columns.

Imports the standard library only, because the options of the command need it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

FOREST = (
    "n_estimators", "max_depth", "max_leaf_nodes", "min_samples_split", "min_samples_leaf", "max_features", "criterion",
)  # fmt: skip

HYPERPARAMETERS: Mapping[str, tuple[str, ...]] = {
    "random-forest": (*FOREST, "class_weight"),
    "extra-trees": (*FOREST, "class_weight"),
    "hist-gradient-boosting": (
        "max_iter", "max_depth", "min_samples_leaf", "max_leaf_nodes", "learning_rate", "l2_regularization",
        "class_weight", "loss",
    ),
    "logistic-regression": ("C", "max_iter", "class_weight"),
    "ridge": ("alpha",),
}  # fmt: skip
"""Estimator → the hyperparameters that can be set, under scikit-learn's names."""

ONE_TASK = {"class_weight": "classification", "loss": "regression"}
"""Hyperparameter that one task alone has → that task."""

CRITERIA = {"classification": ("gini", "entropy", "log_loss"), "regression": ("squared_error", "absolute_error")}
"""Task → the qualities of a split in a forest."""

LOSSES = ("squared_error", "gamma", "poisson")
"""What gradient boosting minimizes, if it predicts a number."""

POSITIVE_LOSSES = ("gamma", "poisson")
"""Those for numbers that are never negative. Then it predicts none that is."""


Encode = Literal["auto", "one-hot", "target"]

ENCODINGS: Sequence[Encode] = get_args(Encode)


@dataclass(frozen=True)
class EncodingOptions:
    """How features become columns, as far as a person chooses it.

    Attributes:
        encode: how categories become columns. "one-hot": a column of zeros and ones for each. "target": numbers that
            say what the target was with the category. "auto": one of the two for each feature.
        rare: where a feature is one-hot, a category with fewer training rows has no column of its own: a whole number
            of rows, or, below 1, a share of the training rows.
        missing_indicators: whether a number that may be missing has one more column, which says whether it is.
    """

    encode: Encode = "auto"
    rare: float = 5
    missing_indicators: bool = True


@dataclass(frozen=True)
class EstimatorConfig:
    """An estimator, by its name in `HYPERPARAMETERS`, the hyperparameters that are set, and how its columns are made.
    The other hyperparameters have defaults."""

    estimator: str = "random-forest"
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    encoding: EncodingOptions = EncodingOptions()


@dataclass(frozen=True)
class DecisionOptions:
    """How a model's outputs become decisions, as far as a person sets it.

    Attributes:
        coverage: for which share of the rows an interval or a prediction set shall hold the truth.
        threshold: the probability from which on the positive class is predicted; or the metric that the threshold
            shall maximize in cross-validation; None: the most probable class is predicted.
        positive: the positive class; None: the second one.
    """

    coverage: float = 0.9
    threshold: float | str | None = None
    positive: str | None = None


@dataclass(frozen=True)
class ColumnOptions:
    """The roles of columns that a person sets, where the role would otherwise be inferred.

    Attributes:
        target: the column to predict.
        drop: columns to leave out.
        id: columns that identify the row; left out as well.
        categorical: columns whose values are categories, even if they look like something else.
        keep: columns to use, even if they look useless.
        dates: which comes first in dates whose values don't say it: the day or the month.
        decimal: the decimal sign of numbers whose values don't say it.
        split_by: the column by which the latest rows are held out; None to hold out rows at random.
    """

    target: str
    drop: Sequence[str] = ()
    id: Sequence[str] = ()
    categorical: Sequence[str] = ()
    keep: Sequence[str] = ()
    dates: Literal["dmy", "mdy"] | None = None
    decimal: Literal[".", ","] | None = None
    split_by: str | None = None

    def named_columns(self) -> Iterator[tuple[str, str]]:
        """Each column that is named, after the option that names it."""
        yield "--target", self.target
        for option, names in (
            ("--drop", self.drop), ("--id", self.id), ("--categorical", self.categorical), ("--keep", self.keep),
        ):  # fmt: skip
            yield from ((option, name) for name in names)
        if self.split_by is not None:
            yield "--split-by", self.split_by
