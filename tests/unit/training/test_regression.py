"""Regression in training: metrics by their definitions, what a target column must be, folds, and refused options."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tabserve.errors import DataError
from tabserve.training import (
    METRICS,
    DecisionOptions,
    EstimatorConfig,
    cross_validation,
    dataset,
    evaluation,
    fitting,
    regression,
)
from tabserve.training.dataset import Dataset
from tabserve.training.evaluation import score
from tabserve.training.leakage import find_leakage
from tests.support import number_tables

TARGET = pd.Series([1.0, 2.0, 4.0, 8.0], name="y")


def test_metrics_follow_their_definitions() -> None:
    """MAE, RMSE, R², median absolute error and MAPE of a small case are those worked out by hand."""
    outputs = np.array([[2.0], [2.0], [2.0], [9.0]])  # errors 1, 0, -2, 1
    values = score(TARGET, outputs, regression.model_task(TARGET))
    assert tuple(values) == METRICS["regression"].names
    assert values["mae"] == 1.0
    assert values["rmse"] == pytest.approx(math.sqrt(6 / 4))
    assert values["median_absolute_error"] == 1.0
    assert values["mape"] == pytest.approx((1 + 0 + 0.5 + 0.125) / 4)
    assert values["r2"] == pytest.approx(1 - 6 / 28.75)


def test_percentage_of_a_value_near_zero_is_left_out() -> None:
    """Where a true value is 0 or near it, there is no MAPE, in no fold either; and it can't be chosen."""
    target = pd.Series(np.arange(40.0), name="y")
    assert "mape" not in score(target, np.ones((40, 1)), regression.model_task(target))
    table = Dataset("t", pd.DataFrame({"x": np.arange(40.0)}), target, regression.model_task(target))
    assert "mape" not in cross_validation.cross_validate(table, EstimatorConfig("ridge"), 4, 0).summary()
    assert "values near 0" in (regression.metric_problem("mape", target) or "")
    assert regression.metric_problem("mape", target + 1) is None


def test_intervals_are_measured_by_their_definitions() -> None:
    """Coverage, mean width and pinball loss of intervals are those worked out by hand."""
    task = regression.model_task(TARGET).model_copy(update={"coverage": 0.5, "interval_radii": (1.0,)})
    found = regression.results(
        regression.true_values(TARGET, task), np.array([[2.0], [2.0], [2.0], [9.0]]), task
    ).named_metrics()
    low = [0.25 * 0, 0.25 * 1, 0.25 * 3, 0.25 * 0]  # bounds 1, 1, 1, 8 as the quantile of 0.25
    high = [0.25 * 2, 0.25 * 1, 0.75 * 1, 0.25 * 2]  # bounds 3, 3, 3, 10 as the quantile of 0.75
    assert found == {
        "interval_coverage": 0.75,
        "interval_width": 2.0,
        "pinball_loss": pytest.approx((np.mean(low) + np.mean(high)) / 2),
    }


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (["1.5", "n/k", "2.5"] * 20, "the target 'y' has 20 texts, the first 'n/k' in row 2"),
        ([1.0, math.inf] * 20, "the target 'y' holds infinity or a number beyond 1e+30"),
        ([1.0, 1e31] * 20, "the target 'y' holds infinity or a number beyond 1e+30"),
        ([2.0] * 40, "the same number in all rows"),
        ([1e15, 1e15 + 0.125] * 20, "the same number in all rows, or nearly so"),
        ([1.5, 2.5], "has 2 rows, and needs 13: use fewer --folds"),
    ],
)
def test_target_that_is_no_number_to_predict_is_refused(values: list[Any], problem: str) -> None:
    """Texts, infinity, a constant and too few rows are refused with the reason."""
    target = regression.read_target(pd.Series(values, name="y"))
    (check,) = regression.target_checks(target, 13, 2)
    assert problem in str(check.error)
    assert not check(target).check_passed


@pytest.mark.parametrize(
    ("config", "values", "problem"),
    [
        (
            EstimatorConfig("logistic-regression"),
            TARGET,
            "--estimator logistic-regression predicts classes; 'y' is a number to predict: use random-forest, extra",
        ),
        (EstimatorConfig(hyperparameters={"class_weight": "balanced"}), TARGET, "--class-weight is for classes"),
        (EstimatorConfig(hyperparameters={"criterion": "gini"}), TARGET, "--criterion gini is for classes"),
        (
            EstimatorConfig("hist-gradient-boosting", {"loss": "gamma"}),
            TARGET - 1,
            "--loss gamma needs a target above",
        ),
        (
            EstimatorConfig("hist-gradient-boosting", {"loss": "poisson"}),
            TARGET - 2,
            "--loss poisson needs a target",
        ),
    ],
)
def test_options_of_the_other_task_are_refused(config: EstimatorConfig, values: pd.Series, problem: str) -> None:
    """An estimator, a weight or a criterion for classes, and a loss that the target doesn't allow, are refused."""
    assert (regression.config_problem(config, values) or "").startswith(problem)


@pytest.mark.parametrize(
    ("config", "values"),
    [
        (EstimatorConfig(hyperparameters={"criterion": "absolute_error"}), TARGET),
        (EstimatorConfig("hist-gradient-boosting", {"loss": "gamma"}), TARGET),
        (EstimatorConfig("hist-gradient-boosting", {"loss": "poisson"}), TARGET - 1),
        (EstimatorConfig("ridge", {"alpha": 2.0}), TARGET),
    ],
)
def test_options_of_a_number_are_taken(config: EstimatorConfig, values: pd.Series) -> None:
    """Criteria and losses of a number are taken where the target allows them."""
    assert regression.config_problem(config, values) is None


@pytest.mark.parametrize(("loss", "least"), [("gamma", 0.0), ("poisson", 0.0), ("squared_error", None), (None, None)])
def test_intervals_of_positive_numbers_begin_at_zero(loss: str | None, least: float | None) -> None:
    """With a loss of numbers that are never negative; with another one nothing is known of that."""
    rows = pd.Series(np.arange(40.0), name="y")
    task = regression.calibrated(
        regression.model_task(rows), rows, rows, rows.to_numpy()[::-1, None], DecisionOptions(), loss
    )
    assert task.interval_minimum == least
    assert (task.decide([1.0]).interval[0] == 0) == (least == 0)


def test_folds_of_a_small_table_have_their_share_of_all_values() -> None:
    """In a small table the mean of each fold is near that of the table; in a large one folds are plain. Each row is
    outside of one fold."""
    target = pd.Series(np.random.default_rng(0).lognormal(0, 1, 100))
    for rows in (target, pd.concat([target] * 20, ignore_index=True)):
        folds = regression.fold_rows(rows, 5, seed=0)
        assert sorted(np.concatenate([outside for _, outside in folds])) == list(range(len(rows)))
    for _, outside in regression.fold_rows(target, 5, seed=0):
        tenths = pd.qcut(target, 10, labels=False).iloc[outside]
        assert tenths.value_counts().tolist() == [2] * 10


def test_too_many_folds_are_refused() -> None:
    """Each fold needs two rows."""
    with pytest.raises(DataError, match="3 folds need 6 training rows, and there are 4"):
        regression.fold_rows(TARGET, 3, 0)


def test_predictions_that_are_not_finite_are_refused() -> None:
    """A model that has left all bounds is refused with what to do."""
    table = number_tables.as_dataset(number_tables.houses(100), "SalePrice")
    pipeline = fitting.fit(table, EstimatorConfig("ridge"), 0)
    pipeline[-1].intercept_ = math.inf
    with pytest.raises(DataError, match="not finite: use a smaller --learning-rate"):
        regression.outputs(pipeline, table.features)


def test_column_that_knows_the_number_is_found() -> None:
    """A column from which the target can be computed is reported, and no other."""
    frame = number_tables.houses(400)
    frame["tax"] = frame.SalePrice * 0.01 + 3
    assert list(find_leakage(number_tables.as_dataset(frame, "SalePrice"), 0)) == ["tax"]


@pytest.mark.parametrize("metric", METRICS["regression"].comparable)
def test_comparison_is_sure_of_a_better_model(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model with a tenth of the errors is better for sure, in the direction of each metric; and none is better than
    itself."""
    monkeypatch.setattr(evaluation, "RESAMPLES", 200)
    rng = np.random.default_rng(0)
    truth = pd.Series(rng.uniform(10, 20, 60))
    task, errors = regression.model_task(truth), rng.normal(size=(60, 1))
    good, bad = (truth.to_numpy()[:, np.newaxis] + size * errors for size in (0.1, 1.0))
    better = evaluation.compare(metric, truth, good, bad, (task, task), seed=1)
    assert better.candidate_is_better
    assert better.low > 0 if metric == "r2" else better.high < 0
    same = evaluation.compare(metric, truth, bad, bad, (task, task), seed=1)
    assert (same.low, same.high, same.candidate_is_better) == (0, 0, False)


def test_same_seed_holds_out_the_same_rows_and_gives_the_same_intervals() -> None:
    """The same table and seed give the same task, whatever the number of threads."""
    table = number_tables.as_dataset(number_tables.taxis(300), "fare_amount")
    training = dataset.split(table, 0.2, 7).training
    config = EstimatorConfig(hyperparameters={"n_estimators": 5})
    first, second = (cross_validation.cross_validate(training, config, 3, 7).outputs for _ in range(2))
    assert np.array_equal(first, second)
    tasks = [
        regression.calibrated(
            regression.model_task(table.target), training.target, training.target, first, DecisionOptions()
        )
        for _ in range(2)
    ]
    assert tasks[0] == tasks[1]
