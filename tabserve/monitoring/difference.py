"""How two models of the same task differ on the same rows. Each task says how far apart two of its outputs are."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from prometheus_client.metrics_core import HistogramMetricFamily, Metric

from tabserve.model import Vector
from tabserve.monitoring.histogram import Histogram, rounded


@dataclass(frozen=True)
class Difference:
    """How two models differ on some rows.

    Attributes:
        changed: shape (rows,), whether the prediction is another one.
        distance: shape (rows,), how far apart the outputs are: 0 if they are equal.
    """

    changed: NDArray[np.bool_]
    distance: Vector


class Differences(ABC):
    """Rows that two models predicted, by how the two differ. Not thread-safe.

    Attributes:
        buckets: the upper bounds in which distances are counted.
        key: the key of the distances in `/metrics`.
        metric, description: the name of the distances for Prometheus, and what they are.
        rows: `agreed`, the rows with the same prediction of both, and `differed`, the others.
        distance: of every row.
        largest: the largest distance.
    """

    buckets: ClassVar[tuple[float, ...]]
    key: ClassVar[str]
    metric: ClassVar[str]
    description: ClassVar[str]

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter(agreed=0, differed=0)
        self.distance = Histogram(self.buckets)
        self.largest = 0.0

    @staticmethod
    @abstractmethod
    def compare(outcomes: Sequence[Any], others: Any) -> Difference:
        """Compares the decisions of one model, at least one, with those of the other for the same rows."""

    @classmethod
    def of(cls, outcomes: Sequence[Any], others: Any) -> Self:
        """The differences between the decisions of one model and those of the other for the same rows."""
        found = cls.compare(outcomes, others)
        differences = cls()
        differed = int(found.changed.sum())
        differences.rows.update(agreed=len(found.changed) - differed, differed=differed)
        differences.distance = Histogram.of(cls.buckets, found.distance)
        differences.largest = float(found.distance.max(initial=0.0))
        return differences

    def merge(self, other: "Differences") -> None:
        self.rows.update(other.rows)
        self.distance.merge(other.distance)
        self.largest = max(self.largest, other.largest)

    def summary(self) -> dict[str, Any]:
        """The differences for `/metrics` and `/model/info`, by key. What has no rows yet is null."""
        rows = self.rows.total()
        p95 = self.distance.quantile(0.95)
        return {
            "agreement": self.rows["agreed"] / rows if rows else None,
            self.key: {
                "mean": rounded(self.distance.mean, 6),
                "p95": rounded(None if p95 is None else min(p95, self.largest), 6),
                "largest": rounded(self.largest, 6) if rows else None,
            },
        }

    @classmethod
    def collect(cls, by_pair: Iterable[tuple[list[str], "Differences"]]) -> Sequence[Metric]:
        """The differences for Prometheus. `by_pair`: the versions of the champion and the challenger, and theirs."""
        distances = HistogramMetricFamily(cls.metric, cls.description, labels=["champion", "challenger"])
        for pair, differences in by_pair:
            distances.add_metric(pair, differences.distance.cumulative(), differences.distance.sum)
        return (distances,)
