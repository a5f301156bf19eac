"""What is monitored of each kind of task. The only module of this package that asks for the kind.

Another kind needs a module like `classification` and `regression`, and an entry in `MONITORING`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from prometheus_client.metrics_core import Metric

from tabserve.model import ClassOutcome, Matrix, NumberOutcome, Outcome, Task
from tabserve.monitoring.classification import ClassCounts, ClassDifferences, compare_probabilities
from tabserve.monitoring.difference import Difference, Differences
from tabserve.monitoring.regression import NumberCounts, NumberDifferences, compare_numbers


class Counts(Protocol):
    """Counts of the rows that a model predicted. Not thread-safe."""

    def __init__(self) -> None: ...

    @classmethod
    def of(cls, outcomes: Any) -> Self:
        """The counts of a batch."""

    @property
    def rows(self) -> int: ...

    def add(self, outcome: Any) -> None:
        """Counts one row."""

    def merge(self, other: Any) -> None:
        """Adds other counts of this kind."""

    @staticmethod
    def summary(by_version: Mapping[str, Any]) -> dict[str, Any]:
        """The counts of all model versions for `/metrics`, by key."""

    @staticmethod
    def collect(by_version: Mapping[str, Any]) -> Sequence[Metric]:
        """The counts for Prometheus."""


@dataclass(frozen=True)
class TaskMonitoring:
    """What is monitored of one kind of task.

    Attributes:
        outcome: the type of its decisions. The record of a single row has no other mark of its task.
        counts: what is counted of the decisions of a model.
        differences: how two models are compared.
        compare: how the outputs of two models for the same rows differ, by the task of the first.
    """

    outcome: type[Outcome]
    counts: type[Counts]
    differences: type[Differences]
    compare: Callable[[Any, Matrix, Matrix], Difference]


MONITORING: Mapping[str, TaskMonitoring] = {
    "classification": TaskMonitoring(
        ClassOutcome, ClassCounts, ClassDifferences, lambda _, ours, theirs: compare_probabilities(ours, theirs)
    ),
    "regression": TaskMonitoring(
        NumberOutcome,
        NumberCounts,
        NumberDifferences,
        lambda task, ours, theirs: compare_numbers(ours, theirs, task.target_spread),
    ),
}
"""Kind of task → what is monitored of it."""


def compare_outputs(task: Task, outputs: Matrix, other_outputs: Matrix) -> Difference:
    """How two models differ: the outputs of both for the same rows, each of shape (rows, outputs). `task` is that of
    the first."""
    return MONITORING[task.kind].compare(task, outputs, other_outputs)
