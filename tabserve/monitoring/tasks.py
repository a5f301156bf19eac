"""What is monitored of each kind of task. The only module of this package that asks for the kind.

Another kind needs a module like `classification`, and an entry in `MONITORING`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tabserve.model import ClassOutcome, Outcome
from tabserve.monitoring.classification import ClassCounts, ClassDifferences

Counts = ClassCounts
"""Counts of the rows that a model predicted."""

Differences = ClassDifferences
"""Differences between two models on the same rows."""


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
}
"""Kind of task → what is monitored of it."""
