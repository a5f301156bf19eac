"""The comparison of a champion and a challenger."""

import numpy as np
import pytest

from tabserve.model import Classification
from tabserve.monitoring import ShadowComparison, median_latencies

TASK = Classification(classes=("a", "b"))


def test_comparison_counts_each_row_once_and_sums_up() -> None:
    """Every row is in one result, and the summary has the differences of the task and the latency of each version."""
    comparison = ShadowComparison("one", "two", TASK)
    assert comparison.summary()["agreement"] is None
    assert comparison.summary()["latency_ms"]["one"] == {"mean": None, "p50": None, "p95": None}
    outcomes = TASK.decide_rows(np.array([[1.0, 0.0], [0.5, 0.5]])).outcomes()
    comparison.add(outcomes, TASK.decide_rows(np.array([[0.9, 0.1], [0.0, 1.0]])))
    comparison.add_not_compared(7, "skipped")
    comparison.add_not_compared(1, "failed")
    comparison.add_latency("one", 2e-6)
    summary = comparison.summary()
    assert summary["rows"] == comparison.rows() == {"agreed": 1, "differed": 1, "skipped": 7, "failed": 1}
    assert summary["agreement"] == 0.5
    assert summary["probability_distance"] == {
        "mean": pytest.approx(0.3),
        "p95": pytest.approx(0.5, rel=0.02),
        "largest": 0.5,
    }
    assert summary["latency_ms"]["one"]["mean"] == pytest.approx(0.002)
    assert summary["latency_ms"]["two"]["p50"] is None


def test_models_take_turns_while_they_are_measured() -> None:
    """Each model predicts each of its own rows once, in turns with the other, and has a latency of its own."""
    calls: list[tuple[str, float]] = []
    models = [
        (lambda row, name=name: calls.append((name, row[0])), np.array(rows))
        for name, rows in (("one", [[1.0], [2.0]]), ("two", [[3.0], [4.0]]))
    ]
    one, two = median_latencies(models)
    assert calls == [("one", 1), ("two", 3), ("one", 2), ("two", 4)]
    assert min(one, two) > 0
