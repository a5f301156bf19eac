"""What is monitored of classifiers: which classes they predict, how confidently, and how two of them differ.

Knows outcomes and probabilities. Doesn't know requests, or which of two models is live.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric

from tabserve.model import ClassOutcome, ClassOutcomes, Matrix, Vector
from tabserve.model.task import Label
from tabserve.monitoring.difference import Difference, Differences
from tabserve.monitoring.histogram import Histogram

CONFIDENCE_BUCKETS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)

DISTANCE_BUCKETS = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, *(step / 20 for step in range(2, 21)))


class ClassCounts:
    """Predicted rows by label and by confidence. Not thread-safe.

    Attributes:
        labels: label → rows.
        confidence: of every row.
    """

    __slots__ = ("confidence", "labels")

    def __init__(self) -> None:
        self.labels: dict[Label, int] = {}
        self.confidence = Histogram(CONFIDENCE_BUCKETS)

    @classmethod
    def of(cls, outcomes: ClassOutcomes) -> "ClassCounts":
        """The counts of a batch."""
        counts = cls()
        rows = np.bincount(outcomes.prediction, minlength=len(outcomes.task.labels)).tolist()
        counts.labels = {label: count for label, count in zip(outcomes.task.labels, rows, strict=True) if count}
        counts.confidence = Histogram.of(CONFIDENCE_BUCKETS, outcomes.confidence)
        return counts

    @property
    def rows(self) -> int:
        return sum(self.labels.values())

    def add(self, outcome: ClassOutcome) -> None:
        labels, label = self.labels, outcome.label
        labels[label] = labels.get(label, 0) + 1
        self.confidence.add(outcome.confidence)

    def merge(self, other: "ClassCounts") -> None:
        for label, count in other.labels.items():
            self.labels[label] = self.labels.get(label, 0) + count
        self.confidence.merge(other.confidence)

    @staticmethod
    def summary(by_version: Mapping[str, "ClassCounts"]) -> dict[str, Any]:
        """The counts of all model versions for `/metrics`, by key."""
        total = _total(by_version)
        by_class = {str(label): count for label, count in total.labels.items()}
        return {"predictions_by_class": by_class, "mean_confidence": total.confidence.mean}

    @staticmethod
    def collect(by_version: Mapping[str, "ClassCounts"]) -> Sequence[Metric]:
        """The counts for Prometheus."""
        predictions = CounterMetricFamily("model_predictions", "Rows predicted", labels=["model_version", "label"])
        for version, counts in by_version.items():
            for label, count in counts.labels.items():
                predictions.add_metric([version, str(label)], count)
        confidence = HistogramMetricFamily(
            "model_prediction_confidence", "Largest probability of each predicted row", labels=[]
        )
        total = _total(by_version).confidence
        confidence.add_metric([], total.cumulative(), total.sum)
        return predictions, confidence


def _total(by_version: Mapping[str, ClassCounts]) -> ClassCounts:
    total = ClassCounts()
    for counts in by_version.values():
        total.merge(counts)
    return total


def total_variation(probabilities: Matrix, other_probabilities: Matrix) -> Vector:
    """The total variation distance of each row, for probabilities of shape (rows, classes) with the classes in the same
    order: half the sum of the absolute differences. It is 0 if they are equal, and 1 if they have nothing in common
    (Levin, Peres: Markov Chains and Mixing Times, 2017, proposition 4.2)."""
    distance: Vector = np.abs(probabilities - other_probabilities).sum(axis=1) / 2
    return np.minimum(distance, 1.0)  # rounding may put a sum just above 1


class ClassDifferences(Differences):
    """Rows that two classifiers predicted. The prediction is another one if the class is; the distance is that of
    `total_variation`."""

    buckets = DISTANCE_BUCKETS
    key = "probability_distance"
    metric = "model_shadow_probability_distance"
    description = "Total variation distance of the two models' probabilities"

    @staticmethod
    def compare(outcomes: Sequence[ClassOutcome], others: ClassOutcomes) -> Difference:
        changed = np.array([outcome.prediction for outcome in outcomes]) != others.prediction
        probabilities = np.array([outcome.prediction_proba for outcome in outcomes])
        return Difference(changed, total_variation(probabilities, others.prediction_proba))
