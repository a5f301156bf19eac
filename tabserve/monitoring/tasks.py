"""What is monitored of each kind of task. The only module of this package that asks for the kind.

Another kind needs a module like `classification` and `regression`, and an entry in `MONITORING`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from prometheus_client.metrics_core import Metric

from tabserve.model import ClassOutcome, Matrix, NumberOutcome, Outcome, Task
from tabserve.monitoring.classification import ClassCounts, ClassDifferences
from tabserve.monitoring.difference import Difference, Differences
from tabserve.monitoring.regression import NumberCounts, NumberDifferences


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
    """

    outcome: type[Outcome]
    counts: type[Counts]
    differences: type[Differences]


MONITORING: Mapping[str, TaskMonitoring] = {
    "classification": TaskMonitoring(ClassOutcome, ClassCounts, ClassDifferences),
    "regression": TaskMonitoring(NumberOutcome, NumberCounts, NumberDifferences),
}
"""Kind of task → what is monitored of it."""


def compare_outputs(task: Task, outputs: Matrix, other_task: Task, other_outputs: Matrix) -> Difference:
    """How two models of the same kind of task differ: the outputs of both for the same rows, each of shape
    (rows, outputs)."""
    decisions = task.decide_rows(outputs).outcomes()
    return MONITORING[task.kind].differences.compare(decisions, other_task.decide_rows(other_outputs))
