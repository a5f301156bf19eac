"""What is monitored of models that predict a number: how large the numbers are, and how two models differ.

Knows outcomes and numbers. Doesn't know requests, or which of two models is live.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from prometheus_client.metrics_core import HistogramMetricFamily, Metric

from tabserve.model import NumberOutcome, NumberOutcomes
from tabserve.monitoring.difference import Difference, Differences
from tabserve.monitoring.histogram import Histogram

SAME = 0.01
"""Two predictions agree if they differ by at most this share of the target's spread."""

DISTANCE_BUCKETS = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)


class NumberCounts:
    """Predicted numbers, in buckets that are the deciles of the target in training. Not thread-safe.

    Attributes:
        predictions: of every row. Rows of models with other deciles are counted together, without buckets.
    """

    __slots__ = ("predictions",)

    def __init__(self) -> None:
        self.predictions = Histogram(())

    @classmethod
    def of(cls, outcomes: NumberOutcomes) -> "NumberCounts":
        """The counts of a batch."""
        counts = cls()
        counts.predictions = Histogram.of(outcomes.task.target_deciles, outcomes.prediction)
        return counts

    @property
    def rows(self) -> int:
        return sum(self.predictions.counts)

    def add(self, outcome: NumberOutcome) -> None:
        bounds = outcome.task.target_deciles
        if self.predictions.bounds is not bounds:
            self._use(bounds)
        self.predictions.add(outcome.prediction)

    def merge(self, other: "NumberCounts") -> None:
        theirs = other.predictions
        if not other.rows:
            return
        self._use(theirs.bounds)
        if self.predictions.bounds != theirs.bounds:
            theirs = _without_buckets(theirs)
        self.predictions.merge(theirs)

    def _use(self, bounds: tuple[float, ...]) -> None:
        """From now on these are the buckets; none, if rows were counted in others."""
        own = self.predictions
        if not self.rows:
            self.predictions = Histogram(bounds)
        elif own.bounds != bounds:
            self.predictions = _without_buckets(own)

    @staticmethod
    def summary(by_version: Mapping[str, "NumberCounts"]) -> dict[str, Any]:
        """The counts of all model versions for `/metrics`, by key."""
        rows = sum(counts.rows for counts in by_version.values())
        total = sum(counts.predictions.sum for counts in by_version.values())
        ranges = {}
        for version, counts in by_version.items():
            names = [*map(str, counts.predictions.bounds), "+Inf"]
            ranges[version] = dict(zip(names, counts.predictions.counts, strict=True))
        return {"predictions_by_range": ranges, "mean_prediction": total / rows if rows else None}

    @staticmethod
    def collect(by_version: Mapping[str, "NumberCounts"]) -> Sequence[Metric]:
        """The counts for Prometheus."""
        predictions = HistogramMetricFamily("model_predicted_number", "Predicted numbers", labels=["model_version"])
        for version, counts in by_version.items():
            predictions.add_metric([version], counts.predictions.cumulative(), counts.predictions.sum)
        return (predictions,)


def _without_buckets(histogram: Histogram) -> Histogram:
    joined = Histogram(())
    joined.counts, joined.sum = [sum(histogram.counts)], histogram.sum
    return joined


class NumberDifferences(Differences):
    """Rows for which two models predicted a number. The distance is the absolute difference as a share of the target's
    spread, by the first model's task; the prediction is another one if that is above `SAME`."""

    buckets = DISTANCE_BUCKETS
    key = "prediction_distance"
    metric = "model_shadow_prediction_distance"
    description = "Absolute difference of the two models' numbers, as a share of the target's spread"

    @staticmethod
    def compare(outcomes: Sequence[NumberOutcome], others: NumberOutcomes) -> Difference:
        numbers = np.array([outcome.prediction for outcome in outcomes])
        distance = np.abs(numbers - others.prediction) / outcomes[0].task.target_spread
        return Difference(distance > SAME, distance)
