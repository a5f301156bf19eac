"""What training knows of a kind of estimator, in one place: how it is fitted, compiled, searched and described."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import pandas as pd

from tabserve.model import Matrix, Vector
from tabserve.model.compiled import Compiled
from tabserve.training.preprocessing import PreparedColumns
from tabserve.training.progress import ReportProgress


@dataclass(frozen=True)
class Choice:
    """A hyperparameter that is one of several values. `first` is tried first."""

    values: tuple[Any, ...]
    first: Any


@dataclass(frozen=True)
class Range:
    """A hyperparameter between two numbers, searched on a logarithmic scale. `first` is tried first."""

    low: float
    high: float
    first: float


@dataclass(frozen=True)
class WholeRange:
    """The same for whole numbers."""

    low: int
    high: int
    first: int


Axis = Choice | Range | WholeRange


class Family(ABC):
    """Estimators that are fitted, compiled and described in the same way.

    Attributes:
        defaults: hyperparameters whose default is not scikit-learn's.
        space: the hyperparameters that a search tries, in the order in which they are drawn.
        takes_threads: whether `n_jobs` sets the number of threads that fit it.
        has_own_threads: whether scikit-learn runs threads in it, whatever is set.
        tree_count: the hyperparameter with the number of trees; None if it has no trees.
        tree_per_score: whether that is the number of trees for each score of the task.
        averages: whether its outputs are means over trees. Otherwise they are made of sums.
        keeps_missing: whether it takes NaN for a missing number.
        is_linear: whether it is a weighted sum of the columns. Then it continues in a straight line outside the range
            of the training rows.
    """

    defaults: ClassVar[Mapping[str, Any]] = {}
    space: ClassVar[Mapping[str, Axis]]
    takes_threads: ClassVar[bool] = False
    has_own_threads: ClassVar[bool] = False
    tree_count: ClassVar[str | None] = None
    tree_per_score: ClassVar[bool] = False
    averages: ClassVar[bool] = False
    keeps_missing: ClassVar[bool] = False
    is_linear: ClassVar[bool] = False

    def fit(self, estimator: Any, columns: Any, target: pd.Series, report_progress: ReportProgress) -> None:
        """Fits the estimator to columns of shape (rows, columns)."""
        estimator.fit(columns, target)
        report_progress(1)

    @abstractmethod
    def describe_fit(self, estimator: Any) -> str:
        """What was fitted, in words."""

    @abstractmethod
    def importances(self, estimator: Any) -> tuple[str, Matrix]:
        """The kind of importance that the fitted estimator reports, and the importance of each column: shape
        (n, columns), where n is 1 or the number of trees. Each row sums to 1, or to 0 if no column is used."""

    @abstractmethod
    def compile(self, estimator: Any, columns: PreparedColumns, outputs: int) -> Compiled:
        """The fitted estimator as a compiled model with so many outputs.

        An estimator that computes sums may have fewer scores than outputs: for two classes it has one. Then the scores
        are the last outputs, and the first ones are 0.
        """

    def split_points(self, _estimator: Any) -> dict[int, Vector]:
        """The thresholds with which a fitted model of trees compares, by column."""
        return {}

    def reached_leaf_limit(self, _estimator: Any) -> int | None:
        """The limit on the leaves of a tree, if a fitted tree has reached it."""
        return None


class EstimatorType(NamedTuple):
    """What the name of an estimator stands for: scikit-learn's class, and its family."""

    sklearn_type: type[Any]
    family: Family
