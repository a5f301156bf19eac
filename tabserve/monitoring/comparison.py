"""Two models that predict the same rows: how they differ, and how long each takes.

Knows model versions and outputs. Doesn't know where the rows come from, nor who scores them.
"""

import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric

from tabserve.model import Matrix, Outcome, Outcomes, Task
from tabserve.monitoring.difference import Differences
from tabserve.monitoring.histogram import Histogram, rounded
from tabserve.monitoring.tasks import MONITORING

LATENCY_BUCKETS = tuple(1e-7 * 10 ** (step / 8) for step in range(49))
"""100 ns to 100 ms, eight buckets per decade."""


def median_latencies(models: Sequence[tuple[Callable[[Sequence[float]], object], Matrix]]) -> list[float]:
    """The median time that each model takes for one row, in seconds. A model is a function, and comes with its rows.
    The models take turns, so that all are measured under the same conditions."""
    durations: list[list[float]] = [[] for _ in models]
    for rows in zip(*(rows.tolist() for _, rows in models), strict=True):
        for (predict, _), row, seconds in zip(models, rows, durations, strict=True):
            started = time.perf_counter()
            predict(row)
            seconds.append(time.perf_counter() - started)
    return [statistics.median(seconds) for seconds in durations]


class ShadowComparison:
    """What was observed of a champion and a challenger on the rows that callers sent. Thread-safe.

    Attributes:
        champion, challenger: model versions.
        kind: of the task that both have.
    """

    def __init__(self, champion: str, challenger: str, task: Task) -> None:
        self.champion, self.challenger = champion, challenger
        self._lock = threading.Lock()
        self.kind = task.kind
        self._differences = MONITORING[self.kind].differences()
        self._not_compared: Counter[str] = Counter(skipped=0, failed=0)
        self._latencies = {version: Histogram(LATENCY_BUCKETS) for version in (champion, challenger)}

    def add(self, outcomes: Sequence[Outcome], others: Outcomes) -> None:
        """Compares what one model decided with what the other decided for the same rows."""
        differences = MONITORING[self.kind].differences.of(outcomes, others)
        with self._lock:
            self._differences.merge(differences)

    def add_latency(self, model_version: str, seconds: float) -> None:
        """Counts how long one of the two models took for a row."""
        with self._lock:
            self._latencies[model_version].add(seconds)

    def add_not_compared(self, rows: int, reason: Literal["skipped", "failed"]) -> None:
        """Counts rows for which there was no time, or whose comparison failed."""
        with self._lock:
            self._not_compared[reason] += rows

    def rows(self) -> dict[str, int]:
        """Result → rows. The results are those of the task, and `skipped` and `failed`."""
        with self._lock:
            return self._rows()

    def _rows(self) -> dict[str, int]:
        return {**self._differences.rows, **self._not_compared}

    def summary(self) -> dict[str, Any]:
        """The comparison for `/metrics` and `/model/info`, by key. What nothing was counted for is null."""
        with self._lock:
            return {
                "rows": self._rows(),
                **self._differences.summary(),
                "latency_ms": {
                    version: {
                        "mean": rounded(latency.mean, 6, factor=1000),
                        "p50": rounded(latency.quantile(0.5), 6, factor=1000),
                        "p95": rounded(latency.quantile(0.95), 6, factor=1000),
                    }
                    for version, latency in self._latencies.items()
                },
            }

    def differences(self) -> Differences:
        """A copy of what is counted of the differences."""
        copy = MONITORING[self.kind].differences()
        with self._lock:
            copy.merge(self._differences)
        return copy

    def add_to(self, rows: CounterMetricFamily, durations: HistogramMetricFamily) -> None:
        """Adds what doesn't depend on the task to metrics for Prometheus; see `collect`."""
        with self._lock:
            for result, count in self._rows().items():
                rows.add_metric([self.champion, self.challenger, result], count)
            for version, latency in self._latencies.items():
                labels = [self.champion, self.challenger, version]
                durations.add_metric(labels, latency.cumulative(), latency.sum)


def collect(comparisons: Sequence[ShadowComparison]) -> Sequence[Metric]:
    """The comparisons for Prometheus."""
    pair = ["champion", "challenger"]
    rows = CounterMetricFamily(
        "model_shadow_predictions", "Answered rows, by what the challenger made of them", labels=[*pair, "result"]
    )
    durations = HistogramMetricFamily(
        "model_shadow_duration_seconds", "Time of the model alone for one row", labels=[*pair, "model_version"]
    )
    for comparison in comparisons:
        comparison.add_to(rows, durations)
    differences: list[Metric] = []
    for kind, monitoring in MONITORING.items():
        by_pair = [([one.champion, one.challenger], one.differences()) for one in comparisons if one.kind == kind]
        differences += monitoring.differences.collect(by_pair)
    return [rows, *differences, durations]
