"""Models of a number are counted in the deciles of their target, and two of them are compared by distance."""

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tabserve.monitoring import Metrics, compare_outputs
from tabserve.monitoring.regression import NumberCounts, NumberDifferences
from tests.support.records import NUMBER, prediction

TASK = NUMBER
OTHER = TASK.model_copy(update={"target_deciles": (10.0,)})
NUMBERS = np.array([[-3.0], [1.0], [1.5], [100.0]])


def test_batch_is_counted_like_its_rows() -> None:
    """The counts of a batch are those of its rows one by one, each in its decile; counts that are merged add up."""
    outcomes = TASK.decide_rows(NUMBERS)
    single, batch = NumberCounts(), NumberCounts.of(outcomes)
    for outcome in outcomes.outcomes():
        single.add(outcome)
    assert single.predictions.counts == batch.predictions.counts == [2, 1, 0, 1]
    single.merge(batch)
    single.merge(NumberCounts())
    assert (single.rows, single.predictions.counts) == (8, [4, 2, 0, 2])
    assert NumberCounts.summary({"v": single}) == {
        "predictions_by_range": {"v": {"1.0": 4, "2.0": 2, "4.0": 0, "+Inf": 2}},
        "mean_prediction": NUMBERS.mean(),
    }


def test_counts_of_other_deciles_are_joined_without_them() -> None:
    """Rows of models with different deciles are counted together in one bucket, and none is lost."""
    counts = NumberCounts.of(TASK.decide_rows(NUMBERS))
    counts.merge(NumberCounts.of(OTHER.decide_rows(NUMBERS)))
    assert counts.predictions.counts == [8]
    counts.add(TASK.decide([3.0]))
    assert (counts.predictions.counts, counts.predictions.sum) == ([9], 2 * NUMBERS.sum() + 3)


def test_numbers_are_shown_by_version_in_both_formats() -> None:
    """Each model version has its own buckets in the Prometheus text, and classes are counted beside."""
    metrics = Metrics()
    for version, task in (("20260101_000000", TASK), ("20260102_000000", OTHER)):
        for number in (1.5, 3.0):
            record = prediction(1)._replace(outcome=task.decide([number]), model_version=version)
            metrics.observe(record)
    metrics.observe(prediction(1))
    families = text_string_to_metric_families(metrics.text("")[0].decode())
    samples = {
        (sample.labels["model_version"], sample.labels.get("le")): sample.value
        for family in families
        if family.name == "model_predicted_number"
        for sample in family.samples
    }
    assert samples["20260101_000000", "2.0"] == samples["20260102_000000", "10.0"] - 1 == 1
    snapshot = metrics.snapshot()
    assert snapshot["predictions_total"] == 5
    assert snapshot["predictions_by_class"] == {"a": 1}
    assert snapshot["mean_prediction"] == 2.25


def test_distance_is_a_share_of_the_spread() -> None:
    """Two numbers agree up to a hundredth of the target's spread; the distance is their difference as a share of it."""
    found = compare_outputs(TASK, np.array([[1.0], [1.0], [1.0]]), TASK, np.array([[1.0], [1.015625], [0.0]]))
    assert found.changed.tolist() == [False, False, True]
    assert found.distance.tolist() == pytest.approx([0, 0.0078125, 0.5])


def test_differences_are_counted_and_merged() -> None:
    """Rows are counted by whether both models agree; what has no rows yet is null, not 0."""
    differences = NumberDifferences()
    assert differences.summary() == {
        "agreement": None,
        "prediction_distance": {"mean": None, "p95": None, "largest": None},
    }
    other = NUMBERS + np.array([[0.0], [0.0], [0.0], [1.0]])
    for _ in range(2):
        differences.merge(NumberDifferences.of(TASK.decide_rows(NUMBERS).outcomes(), TASK.decide_rows(other)))
    assert dict(differences.rows) == {"agreed": 6, "differed": 2}
    assert differences.summary()["agreement"] == 0.75
    assert differences.summary()["prediction_distance"]["largest"] == 0.5


def test_comparison_of_numbers_is_shown_to_prometheus() -> None:
    """The distances of a pair of models of a number are in the Prometheus text."""
    metrics = Metrics()
    metrics.comparison("one", "two", TASK).add(TASK.decide_rows(NUMBERS).outcomes(), TASK.decide_rows(NUMBERS + 1))
    text = metrics.text("")[0].decode()
    assert 'model_shadow_prediction_distance_sum{challenger="two",champion="one"} 2.0' in text
