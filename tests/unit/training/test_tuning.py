"""The search for hyperparameters: what it suggests, and what it takes as the best."""

import math

import pytest

from tabserve.errors import DataError
from tabserve.training import HYPERPARAMETERS, EstimatorConfig, TaskKind, task_training
from tabserve.training.tuning import Search, Trial

VALUES = (0.5, 0.9, 0.3, math.nan, 0.9, 0.2)


def suggestions(search: Search, values: tuple[float, ...] = VALUES) -> list[EstimatorConfig]:
    """The configs that a search suggests, if their metrics have these values."""
    configs = []
    for value in values:
        configs.append(search.suggest())
        search.record(configs[-1], value)
    return configs


@pytest.mark.parametrize("estimator", HYPERPARAMETERS)
def test_search_begins_with_the_defaults_and_keeps_what_is_set(estimator: str) -> None:
    """The defaults are tried first, then other values. Hyperparameters that are set stay. The same seed and the same
    values give the same suggestions."""
    kind: TaskKind = "classification" if estimator in task_training("classification").estimators else "regression"
    space = task_training(kind).estimators[estimator].family.space
    hyperparameters = {"max_iter": 77} if estimator == "hist-gradient-boosting" else {"class_weight": "balanced"}
    if kind == "regression":
        hyperparameters = {}
    config = EstimatorConfig(estimator, hyperparameters)
    metric = task_training(kind).metrics.default
    first, *others = suggestions(Search(config, metric, 1, kind))
    defaults = {name: axis.first for name, axis in space.items() if name not in hyperparameters}
    assert first.hyperparameters == hyperparameters | defaults
    assert all(hyperparameters.items() <= other.hyperparameters.items() for other in others)
    assert len({str(suggested) for suggested in (first, *others)}) > len(VALUES) / 2
    assert suggestions(Search(config, metric, 1, kind)) == [first, *others]
    assert set(space) <= set(HYPERPARAMETERS[estimator])


@pytest.mark.parametrize("values", [VALUES, (math.nan, *VALUES[1:])])
@pytest.mark.parametrize(("metric", "number"), [("accuracy", 2), ("log_loss", 6)])
def test_best_trial_is_the_best_by_the_metric(metric: str, number: int, values: tuple[float, ...]) -> None:
    """More accuracy is better, less log loss is. Of equal trials the first is the best, and never one with NaN."""
    search = Search(EstimatorConfig(), metric, 0)
    configs = suggestions(search, values)
    assert search.best == Trial(number, configs[number - 1], values[number - 1])


def test_search_with_everything_set_is_refused() -> None:
    """If every hyperparameter that could be tried is set, the message names them."""
    with pytest.raises(DataError, match="--search has nothing to try: C are all set"):
        Search(EstimatorConfig("logistic-regression", {"C": 2.0}), "accuracy", 0)
