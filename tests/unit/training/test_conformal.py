"""Conformal prediction: quantiles by their definition, and intervals that hold what they promise."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from tabserve.errors import DataError
from tabserve.training import DecisionOptions, EstimatorConfig, cross_validation, dataset, fitting, regression
from tabserve.training.conformal import GROUPS, conformal_quantile, grouped_quantiles
from tests.support import number_tables


@pytest.mark.parametrize(("coverage", "rank"), [(0.9, 90), (0.5, 50), (0.899, 89), (0.98, 98)])
def test_quantile_is_the_score_of_its_rank(coverage: float, rank: int) -> None:
    """Of 99 scores the quantile is the one with the rank ⌈100 · coverage⌉, whatever their order."""
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 100.0))
    assert conformal_quantile(scores, coverage) == rank + (coverage == 0.899)


def test_too_few_scores_are_refused() -> None:
    """Ten scores can't tell what 95 % of others don't exceed; nineteen can."""
    with pytest.raises(DataError, match=r"--coverage 0\.95 needs 19 training rows, and there are 10"):
        conformal_quantile(np.arange(10.0), 0.95)
    assert conformal_quantile(np.arange(19.0), 0.95) == 18


def test_groups_are_as_many_as_the_rows_allow() -> None:
    """Many rows make ten groups of the same size, and few make one. Equal predictions stay in one group."""
    rng = np.random.default_rng(0)
    predictions, scores = rng.normal(size=5000), rng.exponential(size=5000)
    bounds, quantiles = grouped_quantiles(predictions, scores, 0.9)
    assert len(quantiles) == len(bounds) + 1 == GROUPS
    assert set(np.bincount(np.searchsorted(bounds, predictions))) == {500}
    assert grouped_quantiles(predictions[:150], scores[:150], 0.9)[0] == []
    assert len(grouped_quantiles(predictions, scores, 0.995)[0]) == 1
    assert grouped_quantiles(np.ones(5000), scores, 0.9) == ([], [conformal_quantile(scores, 0.9)])


def test_intervals_grow_with_the_errors() -> None:
    """Where errors are larger, so are the quantiles."""
    rng = np.random.default_rng(0)
    predictions = rng.uniform(1, 10, 5000)
    _, quantiles = grouped_quantiles(predictions, np.abs(rng.normal(0, predictions)), 0.9)
    assert quantiles[0] < quantiles[4] < quantiles[-1]


TABLES = {
    "houses": lambda: number_tables.as_dataset(number_tables.houses(500), "SalePrice"),
    "diabetes": lambda: number_tables.as_dataset(load_diabetes(as_frame=True).frame, "target"),
}


@pytest.mark.parametrize("table", TABLES)
def test_intervals_hold_the_share_that_they_promise(table: str) -> None:
    """Over 25 random splits the intervals hold 90 % of the held-out rows in the mean, to within 2 %. `python -m
    benchmarks.intervals` measures more splits, tables and estimators."""
    whole = TABLES[table]()
    config, held = EstimatorConfig("ridge"), []
    for seed in range(25):
        parts = dataset.split(whole, 0.2, seed)
        validation = cross_validation.cross_validate(parts.training, config, 5, seed)
        truth = parts.training.target
        task = regression.calibrated(
            regression.model_task(whole.target), truth, truth, validation.outputs, DecisionOptions()
        )
        pipeline = fitting.fit(parts.training, config, seed)
        outputs = regression.outputs(pipeline, parts.held_out.features)
        held.append(regression.results(parts.held_out.target.to_numpy(), outputs, task).coverage.value)
    assert np.mean(held) == pytest.approx(0.9, abs=0.02)
