"""What a task provides for reports. Reporting asks `task_reporting` for everything that differs between tasks."""

from collections.abc import Callable, Iterator
from typing import Protocol

from matplotlib.axes import Axes

from tabserve.model import ModelMetadata, Schema
from tabserve.training import TaskKind
from tabserve.training.dataset import Dataset
from tabserve.training.estimators import Family
from tabserve.training.result import TrainingResult

Draw = Callable[[Axes], None]
"""Draws one plot."""


class TaskReporting(Protocol):
    """The part of a report that is true of one task only. A module of functions can be one.

    Attributes:
        summary_metrics: the metrics at the end of a training.
        run_metrics: the metrics, by their flat names, in a list of trainings.
    """

    @property
    def summary_metrics(self) -> tuple[str, ...]: ...
    @property
    def run_metrics(self) -> tuple[str, ...]: ...

    def plots(self, result: TrainingResult, metadata: ModelMetadata) -> Iterator[tuple[str, Draw]]:
        """The plots of this task, each with its name."""

    def describe_target(self, dataset: Dataset) -> str:
        """The target column of a table, in a line."""

    def dataset_warnings(self, dataset: Dataset) -> list[str]:
        """What somebody should know of the target column before trusting a model, a line each."""

    def describe_leakage(self, score: float) -> str:
        """How well a single column predicts the target. Continues a sentence: "x alone predicts y …"."""

    def metric_title(self, metric: str) -> str:
        """The metric at the begin of a sentence."""

    def summary_lines(self, metadata: ModelMetadata) -> list[str]:
        """What the end of a training says besides `summary_metrics`."""

    def card_introduction(self, schema: Schema) -> str:
        """What the model predicts. Continues a sentence: "A pipeline that …"."""

    def card_results(self, metadata: ModelMetadata, schema: Schema) -> str:
        """What the metrics of the whole model don't show, as Markdown, with a sentence about the plots."""

    def limits(self, metadata: ModelMetadata, schema: Schema, family: Family) -> list[str]:
        """What the model is not good for, in sentences."""


def task_reporting(kind: TaskKind) -> TaskReporting:
    """What the task provides for reports."""
    match kind:
        case "classification":
            from tabserve.reporting import classification

            return classification
        case "regression":
            from tabserve.reporting import regression

            return regression
