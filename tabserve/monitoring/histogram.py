"""How values are distributed: counts by bucket, from which means and quantiles are read. Bounded, whatever comes."""

import itertools
from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray


class Histogram:
    """Counts by bucket and a sum, as a Prometheus histogram has them. Its upper bounds belong to the buckets."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds, self.counts, self.sum = bounds, [0] * (len(bounds) + 1), 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def of(self, values: NDArray[np.float64]) -> "Histogram":
        """The distribution of these values over the same buckets."""
        found = Histogram(self.bounds)
        found.counts = np.bincount(np.searchsorted(self.bounds, values), minlength=len(self.counts)).tolist()
        found.sum = float(values.sum())
        return found

    def add_all(self, other: "Histogram") -> None:
        self.counts = [count + more for count, more in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum

    @property
    def mean(self) -> float | None:
        count = sum(self.counts)
        return self.sum / count if count else None

    def quantile(self, share: float) -> float | None:
        """The quantile, interpolated linearly in its bucket, as Prometheus' `histogram_quantile` does."""
        rank = share * sum(self.counts)
        if not rank:
            return None
        lower, below = 0.0, 0
        for upper, count in zip(self.bounds, self.counts, strict=False):
            if below + count >= rank:
                return lower + (upper - lower) * (rank - below) / count
            lower, below = upper, below + count
        return lower

    def cumulated(self) -> list[tuple[str, float]]:
        return list(zip([*map(str, self.bounds), "+Inf"], itertools.accumulate(self.counts), strict=True))
