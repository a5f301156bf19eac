"""Two models on the same rows: numbers that mean what they are called."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tabserve.model.schema import Schema
from tabserve.model.task import Classification
from tabserve.monitoring import comparison
from tabserve.monitoring.comparison import ShadowComparison
from tests.support.models import Trained

ROWS = np.array([[1.0, 0.0, 0.0], [0.5, 0.25, 0.25], [0.2, 0.3, 0.5], [0.5, 0.5, 0.0]])
OTHERS = np.array([[1.0, 0.0, 0.0], [0.25, 0.5, 0.25], [0.2, 0.2, 0.6], [0.0, 0.0, 1.0]])


def test_differences_are_those_of_the_definition() -> None:
    """The class changes where another probability is the largest; the distance is half the absolute differences."""
    found = comparison.difference(ROWS, OTHERS)
    assert found.changed.tolist() == [False, True, False, True]
    assert found.distance.tolist() == pytest.approx([0, 0.25, 0.1, 1])


@given(arrays(float, (5, 3), elements=st.floats(0, 1)), arrays(float, (5, 3), elements=st.floats(0, 1)))
def test_a_distance_is_a_distance(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Of any probabilities it is between 0 and 1, the same both ways, and 0 between a model and itself."""
    one, two = (rows + 1e-9 for rows in (ours, theirs))
    one, two = (rows / rows.sum(axis=1, keepdims=True) for rows in (one, two))
    distance = comparison.difference(one, two).distance
    assert ((distance >= 0) & (distance <= 1)).all()
    assert distance.tolist() == comparison.difference(two, one).distance.tolist()
    assert not comparison.difference(one, one).distance.any()


def test_what_cannot_be_compared_says_why(trained: Trained) -> None:
    """Models with other features or other classes can't be compared, and the reason names them."""
    schema = trained.schema
    assert schema.incompatibility(schema) is None
    fewer = Schema(target=schema.target, features=schema.features[:2], task=Classification(classes=schema.task.classes))
    assert "other features (sepal_length, sepal_width)" in (schema.incompatibility(fewer) or "")
    renamed = Schema(target=schema.target, features=schema.features, task=Classification(classes=("a", "b", "c")))
    assert "other classes (a, b, c)" in (schema.incompatibility(renamed) or "")


def test_a_tally_sums_up() -> None:
    """Rows are counted by what came of them, and the summary has agreement, distances and each version's latency."""
    tally = ShadowComparison("one", "two")
    assert tally.summary()["agreement"] is None
    assert tally.summary()["probability_distance"] == {"mean": None, "p95": None, "largest": None}
    for _ in range(2):
        tally.add(comparison.difference(ROWS, OTHERS))
    tally.leave_out(7, "skipped")
    tally.leave_out(1, "failed")
    tally.took("one", 2e-6)
    summary = tally.summary()
    assert summary["rows"] == {"agreed": 4, "differed": 4, "skipped": 7, "failed": 1}
    assert summary["agreement"] == 0.5
    assert summary["probability_distance"]["mean"] == pytest.approx(1.35 / 4)
    assert summary["probability_distance"]["largest"] == 1
    assert summary["latency_ms"]["one"]["mean"] == pytest.approx(0.002)
    assert summary["latency_ms"]["two"]["p50"] is None
