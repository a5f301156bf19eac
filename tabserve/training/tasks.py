"""The tasks that can be trained: the names of their metrics, and what each provides for training.

Training asks `task_training` for everything that differs between classification and regression. Another task would be
a module beside these two, its metrics in `METRICS`, and a line in `task_training`. Importing this module is cheap,
because the options of the command need the names of the metrics.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pandera
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from tabserve.model import Matrix, ModelMetadata, Task
    from tabserve.model.compiled import Link
    from tabserve.training.config import DecisionOptions, EstimatorConfig
    from tabserve.training.dataset import Dataset, RowNumbers
    from tabserve.training.estimators import EstimatorType
    from tabserve.training.number_formats import DecimalSign

TaskKind = Literal["classification", "regression"]

OwnTask = TypeVar("OwnTask", bound="Task")
"""The task of a `TaskTraining`."""


@dataclass(frozen=True)
class Metrics:
    """The metrics of a task, by name.

    Attributes:
        names: every metric of a whole model. One that isn't defined for some rows is left out there.
        headline: the most important ones, which stand in one line about a model.
        comparable: the metrics by which models can be compared.
        default: the metric by which models are compared, unless a person chooses another.
        lower_is_better: the metrics whose lower value is better.
    """

    names: tuple[str, ...]
    headline: tuple[str, ...]
    comparable: tuple[str, ...]
    default: str
    lower_is_better: frozenset[str]

    def is_better(self, metric: str, value: float, best: float) -> bool:
        """Whether `value` is better than `best`. An equal value isn't; NaN is worse than any number."""
        if math.isnan(value) or math.isnan(best):
            return not math.isnan(value)
        return value < best if metric in self.lower_is_better else value > best


THRESHOLD_METRICS = ("accuracy", "balanced_accuracy", "f1_macro", "f1_weighted")
"""The metrics of classes that a decision threshold can maximize."""

METRICS: Mapping[TaskKind, Metrics] = {
    "classification": Metrics(
        names=(
            "accuracy",
            "balanced_accuracy",
            "precision_macro",
            "recall_macro",
            "f1_macro",
            "precision_weighted",
            "recall_weighted",
            "f1_weighted",
            "roc_auc_ovr",
            "log_loss",
            "brier_score",
        ),
        headline=("accuracy", "f1_macro", "log_loss"),
        comparable=(
            "accuracy", "balanced_accuracy", "f1_macro", "f1_weighted", "roc_auc_ovr", "log_loss", "brier_score",
        ),
        default="f1_macro",
        lower_is_better=frozenset({"log_loss", "brier_score"}),
    ),
    "regression": Metrics(
        names=("mae", "rmse", "r2", "median_absolute_error", "mape"),
        headline=("mae", "rmse", "r2"),
        comparable=("mae", "rmse", "r2", "median_absolute_error", "mape"),
        default="rmse",
        lower_is_better=frozenset({"mae", "rmse", "median_absolute_error", "mape"}),
    ),
}  # fmt: skip


def metric_text(value: float, sign: str = "") -> str:
    """A metric, or a difference of two, with four digits behind the point. The errors of numbers may be so large or so
    small that they need others. `sign` is "+" to show it always."""
    size = abs(value)
    return f"{value:{sign}{'.7g' if size >= 1e5 else '.3g' if 0 < size < 1e-4 else '.4f'}}"


class TaskResults(Protocol):
    """What an evaluation finds besides `Metrics.names`; each task has its own."""

    def named_metrics(self) -> dict[str, float]:
        """Its numbers, each under a flat name."""

    def add_to(self, metadata: "ModelMetadata", target: "pd.Series") -> "ModelMetadata":
        """The metadata with these results. `target` is the target column of the whole table."""


class TaskTraining(Protocol[OwnTask]):
    """What a task provides for training. A module of functions can be one.

    Attributes:
        metrics: its metrics.
        estimators: the name of an estimator in an `EstimatorConfig` → what it builds.
        estimator_step: the name of the estimator's step in a pipeline.
    """

    @property
    def metrics(self) -> Metrics: ...
    @property
    def estimators(self) -> "Mapping[str, EstimatorType]": ...
    @property
    def estimator_step(self) -> str: ...

    # -- the table

    def read_target(
        self, column: "pd.Series", decimal: "DecimalSign | None" = None, has_types: bool = False, /
    ) -> "pd.Series":
        """The target column as the task takes it. `decimal`: the decimal sign of numbers whose values don't say it.
        `has_types`: whether a text of the table is a text, even if it looks like a number."""

    def target_checks(self, target: "pd.Series", rows_needed: int, fewest_rows: int) -> "Iterator[pandera.Check]":
        """What must hold of a target column that can be trained on. `rows_needed`: how many rows it takes;
        `fewest_rows`: how many with two folds."""

    def config_problem(self, config: "EstimatorConfig", target: "pd.Series") -> str | None:
        """Why the config can't be trained on this target column, and what to do; None if it can."""

    def metric_problem(self, metric: str, target: "pd.Series") -> str | None:
        """Why models of this target column can't be compared by the metric; None if they can."""

    def rows_needed(self, estimator: str, folds: int, test_size: float) -> int:
        """How many rows the training needs; of a classifier, of each class."""

    def model_task(self, target: "pd.Series") -> OwnTask:
        """The task of a model that predicts this target column."""

    def decision_problem(self, options: "DecisionOptions", task: OwnTask) -> str | None:
        """Why a model of this task can't decide by the options, and what to do; None if it can."""

    def calibrated(
        self,
        task: OwnTask,
        training: "pd.Series",
        measured: "pd.Series",
        outputs: "Matrix",
        options: "DecisionOptions",
        loss: str | None = None,
        /,
    ) -> OwnTask:
        """The task with what only cross-validation can tell: the size of its intervals or prediction sets, and the
        decision threshold.

        `training` is the target of the training rows. `measured` is that of the rows of `outputs`, which have the shape
        (rows, outputs) and come from models that were not fitted on these rows. `loss` is what
        they minimized, if it was set.

        Raises:
            DataError: there are too few rows.
        """

    def dataset_facts(self, task: OwnTask) -> dict[str, int]:
        """Facts about the target for `DatasetFacts`."""

    # -- rows

    def strata(self, target: "pd.Series") -> "pd.Series | None":
        """The group of each row, if a split keeps the shares of groups."""

    def fold_rows(self, target: "pd.Series", folds: int, seed: int) -> "list[tuple[RowNumbers, RowNumbers]]":
        """For each fold the rows to fit on, and the rows to measure on.

        Raises:
            DataError: there are too few rows.
        """

    def resample_groups(self, truth: "NDArray[Any]") -> "Sequence[RowNumbers]":
        """The groups of rows within which a bootstrap draws, so that each keeps its size. `truth` is the result of
        `true_values`."""

    # -- a model

    def score_link(self, estimator: Any) -> "Link":
        """How scores become outputs, for an estimator that computes a sum per score."""

    def scores(self, task: OwnTask) -> int:
        """How many scores an estimator computes for a row, if it computes sums."""

    def outputs(self, pipeline: "Pipeline", features: "pd.DataFrame") -> "Matrix":
        """What scikit-learn computes for each row: shape (rows, outputs)."""

    def true_values(self, target: "pd.Series", task: OwnTask) -> "NDArray[Any]":
        """The true values as numbers: shape (rows,)."""

    def metric_value(self, metric: str, truth: "NDArray[Any]", outputs: "Matrix", task: OwnTask) -> float:
        """A metric of outputs of shape (rows, outputs). NaN if it isn't defined for these rows."""

    def prediction_score(self, target: "pd.Series", predictions: "NDArray[Any]") -> float:
        """How good predictions are, by the measure of the permutation importances."""

    def results(self, truth: "NDArray[Any]", outputs: "Matrix", task: OwnTask) -> TaskResults:
        """What an evaluation finds besides the metrics."""

    def changed_predictions(self, expected: "Matrix", actual: "Matrix", task: OwnTask) -> int:
        """For how many rows these outputs lead to different predictions."""

    # -- leakage

    def leakage_sample(self, dataset: "Dataset", seed: int) -> "Dataset | None":
        """Rows on which leakage is measured; None if there are too few."""

    def leakage_score(self, column: "pd.DataFrame", target: "pd.Series", seed: int) -> float:
        """How well one column of numbers alone predicts the target, from 0 to 1."""


def task_training(kind: TaskKind) -> TaskTraining[Any]:
    """What the task provides for training. Imports scikit-learn."""
    match kind:
        case "classification":
            from tabserve.training import classification

            return classification
        case "regression":
            from tabserve.training import regression

            return regression
