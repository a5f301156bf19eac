"""Classifiers are counted by label and confidence, and two of them are compared by class and probabilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tabserve.model import Classification, Schema
from tabserve.monitoring import compare_outputs
from tabserve.monitoring.classification import ClassCounts, ClassDifferences, total_variation
from tests.support.models import Trained

PROBABILITIES = np.array([[1.0, 0.0, 0.0], [0.5, 0.25, 0.25], [0.2, 0.3, 0.5], [0.5, 0.5, 0.0]])
OTHER_PROBABILITIES = np.array([[1.0, 0.0, 0.0], [0.25, 0.5, 0.25], [0.2, 0.2, 0.6], [0.0, 0.0, 1.0]])
TASK = Classification(classes=("a", "b", "c"))


def test_difference_follows_its_definition() -> None:
    """The class changes where another probability is the largest; the distance is half the absolute differences."""
    found = compare_outputs(TASK, PROBABILITIES, TASK, OTHER_PROBABILITIES)
    assert found.changed.tolist() == [False, True, False, True]
    assert found.distance.tolist() == pytest.approx([0, 0.25, 0.1, 1])


@given(arrays(float, (5, 3), elements=st.floats(0, 1)), arrays(float, (5, 3), elements=st.floats(0, 1)))
def test_distance_is_a_metric(ours: np.ndarray, theirs: np.ndarray) -> None:
    """For any probabilities the distance is between 0 and 1, symmetric, and 0 between a model and itself."""
    one, two = (rows + 1e-9 for rows in (ours, theirs))
    one, two = (rows / rows.sum(axis=1, keepdims=True) for rows in (one, two))
    distance = total_variation(one, two)
    assert ((distance >= 0) & (distance <= 1)).all()
    assert distance.tolist() == total_variation(two, one).tolist()
    assert not total_variation(one, one).any()


def test_each_model_decides_by_its_own_threshold() -> None:
    """Two models with the same probabilities differ where their thresholds lead to other classes."""
    plain = Classification(classes=("no", "yes"))
    bold = Classification(classes=("no", "yes"), threshold=0.2, positive="yes")
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.4, 0.6]])
    found = compare_outputs(plain, probabilities, bold, probabilities)
    assert found.changed.tolist() == [False, True, False]
    assert not found.distance.any()


def test_models_that_cannot_be_compared_name_the_difference(trained: Trained) -> None:
    """Models with other features or other classes can't be compared, and the reason names them."""
    schema = trained.schema
    assert schema.incompatibility(schema) is None
    fewer = Schema(target=schema.target, features=schema.features[:2], task=schema.task)
    assert "other features (sepal_length, sepal_width)" in (schema.incompatibility(fewer) or "")
    renamed = Schema(target=schema.target, features=schema.features, task=Classification(classes=("a", "b", "c")))
    assert "other classes (a, b, c)" in (schema.incompatibility(renamed) or "")


def test_batch_is_counted_like_its_rows() -> None:
    """The counts of a batch are those of its rows one by one, and counts that are merged add up."""
    outcomes = TASK.decide_rows(PROBABILITIES)
    single, batch, both = ClassCounts(), ClassCounts.of(outcomes), ClassCounts()
    for outcome in outcomes.outcomes():
        single.add(outcome)
    assert (single.labels, single.confidence.counts) == (batch.labels, batch.confidence.counts)
    assert single.confidence.sum == pytest.approx(batch.confidence.sum)
    assert (batch.rows, batch.labels) == (4, {"a": 3, "c": 1})
    both.merge(single)
    both.merge(batch)
    assert both.rows == 8
    assert both.confidence.mean == pytest.approx(batch.confidence.mean)


def test_differences_are_counted_and_merged() -> None:
    """Rows are counted by whether both models agree; what has no rows yet is null, not 0."""
    differences = ClassDifferences()
    assert differences.summary() == {
        "agreement": None,
        "probability_distance": {"mean": None, "p95": None, "largest": None},
    }
    others = TASK.decide_rows(OTHER_PROBABILITIES)
    for _ in range(2):
        differences.merge(ClassDifferences.of(TASK.decide_rows(PROBABILITIES).outcomes(), others))
    assert dict(differences.rows) == {"agreed": 4, "differed": 4}
    summary = differences.summary()
    assert summary["agreement"] == 0.5
    assert summary["probability_distance"]["mean"] == pytest.approx(1.35 / 4)
    assert summary["probability_distance"]["largest"] == 1
