"""Two models on the same rows: how often they agree, how far their probabilities are apart, how long each takes.

Knows numbers and schemas; does not know where rows come from, or which of the two is live.
"""

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tabserve.model.arrays import Matrix
from tabserve.monitoring.histogram import Histogram

DISTANCE_BUCKETS = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, *(step / 20 for step in range(2, 21)))

LATENCY_BUCKETS = tuple(1e-7 * 10 ** (step / 8) for step in range(49))
"""100 ns to 100 ms, eight to a decade."""


@dataclass(frozen=True)
class Difference:
    """How two models differ on n rows.

    Attributes:
        changed: shape (n,), whether the class is another one.
        distance: shape (n,), total variation distance of the probabilities, half the sum of the absolute differences:
            from 0, the same, to 1, nothing in common (Levin, Peres: Markov Chains and Mixing Times, 2017, prop. 4.2).
    """

    changed: NDArray[np.bool_]
    distance: NDArray[np.float64]


def difference(ours: Matrix, theirs: Matrix) -> Difference:
    """Both of shape (n, classes), the classes in the same order."""
    changed = ours.argmax(axis=1) != theirs.argmax(axis=1)
    # the sums of probabilities round: a distance just above 1 would be no distance
    return Difference(changed, np.minimum(np.abs(ours - theirs).sum(axis=1) / 2, 1.0))


def latencies(models: Sequence[tuple[Callable[[Sequence[float]], object], Matrix]]) -> list[float]:
    """Median seconds that each model takes for one of its rows. They take turns, so that they meet the same
    conditions."""
    taken: list[list[float]] = [[] for _ in models]
    for row in zip(*(rows.tolist() for _, rows in models), strict=True):
        for (answer, _), values, seconds in zip(models, row, taken, strict=True):
            started = time.perf_counter()
            answer(values)
            seconds.append(time.perf_counter() - started)
    return [statistics.median(seconds) for seconds in taken]


class ShadowComparison:
    """What was found of two models while serving. Any thread may count; whoever reads several numbers holds `lock`.

    Attributes:
        rows: by what came of them: both gave the same class or not, there was no time, or the comparison failed.
        distance, largest: of the rows that were compared, see `Difference`.
        latencies: seconds for one row, the model alone, by model version; both take the same row, one after the other.
    """

    def __init__(self, champion: str, challenger: str) -> None:
        self.champion, self.challenger = champion, challenger
        self.lock = threading.Lock()
        self.rows = {"agreed": 0, "differed": 0, "skipped": 0, "failed": 0}
        self.distance, self.largest = Histogram(DISTANCE_BUCKETS), 0.0
        self.latencies = {version: Histogram(LATENCY_BUCKETS) for version in (champion, challenger)}

    def add(self, found: Difference) -> None:
        distances, differed = self.distance.of(found.distance), int(found.changed.sum())
        with self.lock:
            self.rows["differed"] += differed
            self.rows["agreed"] += len(found.changed) - differed
            self.distance.add_all(distances)
            self.largest = max(self.largest, float(found.distance.max(initial=0.0)))

    def took(self, version: str, seconds: float) -> None:
        with self.lock:
            self.latencies[version].add(seconds)

    def leave_out(self, rows: int, why: Literal["skipped", "failed"]) -> None:
        with self.lock:
            self.rows[why] += rows

    def summary(self) -> dict[str, Any]:
        """For people. What nothing has been counted for is null."""
        with self.lock:
            compared = self.rows["agreed"] + self.rows["differed"]
            p95 = self.distance.quantile(0.95)
            return {
                "rows": dict(self.rows),
                "agreement": self.rows["agreed"] / compared if compared else None,
                "probability_distance": {
                    "mean": _rounded(self.distance.mean),
                    "p95": _rounded(None if p95 is None else min(p95, self.largest)),
                    "largest": _rounded(self.largest) if compared else None,
                },
                "latency_ms": {
                    version: {
                        "mean": _milliseconds(found.mean),
                        "p50": _milliseconds(found.quantile(0.5)),
                        "p95": _milliseconds(found.quantile(0.95)),
                    }
                    for version, found in self.latencies.items()
                },
            }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _milliseconds(seconds: float | None) -> float | None:
    return _rounded(None if seconds is None else seconds * 1000)
