"""The distribution of a value: counts per bucket, from which means and quantiles are read. Its size is fixed."""

import itertools
from bisect import bisect_left

import numpy as np

from tabserve.model import Vector


class Histogram:
    """Counts per bucket and a sum, as in a Prometheus histogram. Not thread-safe.

    Attributes:
        bounds: the upper bound of each bucket, ascending; a bucket includes its upper bound.
        counts: how many values are in each bucket, and last how many are above all bounds.
        sum: of all values.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds, self.counts, self.sum = bounds, [0] * (len(bounds) + 1), 0.0

    @classmethod
    def of(cls, bounds: tuple[float, ...], values: Vector) -> "Histogram":
        """The histogram of these values."""
        histogram = cls(bounds)
        histogram.counts = np.bincount(np.searchsorted(bounds, values), minlength=len(bounds) + 1).tolist()
        histogram.sum = float(values.sum())
        return histogram

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def merge(self, other: "Histogram") -> None:
        """Adds the counts of another histogram with the same bounds."""
        self.counts = [own + more for own, more in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum

    @property
    def mean(self) -> float | None:
        count = sum(self.counts)
        return self.sum / count if count else None

    def quantile(self, fraction: float) -> float | None:
        """A quantile; 0.5 is the median. Interpolated linearly within its bucket, as by `histogram_quantile` in
        Prometheus."""
        rank = fraction * sum(self.counts)
        if not rank:
            return None
        lower, below = 0.0, 0
        for upper, count in zip(self.bounds, self.counts, strict=False):
            if below + count >= rank:
                return lower + (upper - lower) * (rank - below) / count
            lower, below = upper, below + count
        return lower

    def cumulative(self) -> list[tuple[str, float]]:
        """Bound → how many values are at most as large, as `HistogramMetricFamily.add_metric` takes it."""
        return list(zip([*map(str, self.bounds), "+Inf"], itertools.accumulate(self.counts), strict=True))


def rounded(value: float | None, digits: int, factor: float = 1) -> float | None:
    """The value times `factor`, rounded; None stays None."""
    return None if value is None else round(value * factor, digits)
