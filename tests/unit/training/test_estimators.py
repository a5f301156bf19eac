"""Estimators: their size is limited, and their importances are scikit-learn's."""

from dataclasses import replace

import numpy as np
import pytest

from tabserve.model import Classification
from tabserve.training import HYPERPARAMETERS, METRICS, EstimatorConfig, dataset, fitting, task_training
from tabserve.training.estimators import catalog, family_of
from tabserve.training.estimators.catalog import with_leaf_limit

BOOSTING = EstimatorConfig("hist-gradient-boosting")


def classes(count: int) -> Classification:
    return Classification(classes=tuple(f"class {number}" for number in range(count)))


def test_trees_that_could_be_too_large_get_a_leaf_limit() -> None:
    """If so many rows could make trees that take more than the limit in bytes, each gets as many leaves as fit."""
    fitting_leaves = catalog.MAX_TREE_BYTES // (100 * (2 * 16 + 8 * 3))
    assert with_leaf_limit(EstimatorConfig(), fitting_leaves, classes(3)) == EstimatorConfig()
    limited = with_leaf_limit(EstimatorConfig(), fitting_leaves + 1, classes(3))
    assert limited.hyperparameters == {"max_leaf_nodes": fitting_leaves}
    assert with_leaf_limit(BOOSTING, 10**6, classes(100)).hyperparameters == {"max_leaf_nodes": 12}


@pytest.mark.parametrize(
    ("config", "rows", "count"),
    [
        (EstimatorConfig(hyperparameters={"min_samples_leaf": 10}), 178_570, 3),
        (EstimatorConfig(hyperparameters={"max_depth": 14}), 10**6, 3),
        (EstimatorConfig(hyperparameters={"max_depth": 10**9}), 17_857, 3),
        (EstimatorConfig("extra-trees", {"n_estimators": 1}), 10**6, 3),
        (BOOSTING, 10**6, 50),
        (replace(BOOSTING, hyperparameters={"max_iter": 50, "min_samples_leaf": 5000}), 10**5, 100),
        (EstimatorConfig("logistic-regression"), 10**6, 100),
    ],
)
def test_trees_that_cannot_be_too_large_get_no_leaf_limit(config: EstimatorConfig, rows: int, count: int) -> None:
    """Large leaves, a small depth, few trees or few rows keep the trees small enough; a linear model has none."""
    assert with_leaf_limit(config, rows, classes(count)) == config


def test_leaf_limit_that_was_set_by_hand_stays() -> None:
    """A limit that a person set stays; one that a search chose gets smaller if it must."""
    by_hand = EstimatorConfig(hyperparameters={"max_leaf_nodes": 10**9})
    assert with_leaf_limit(by_hand, 10**6, classes(3)) == by_hand
    searched = replace(BOOSTING, hyperparameters={"max_leaf_nodes": 128, "max_iter": 400})
    limited = with_leaf_limit(searched, 10**6, classes(100), set_by_hand=())
    assert limited.hyperparameters == {"max_leaf_nodes": 3, "max_iter": 400}
    assert with_leaf_limit(searched, 10**6, classes(100), set_by_hand=("max_leaf_nodes",)) == searched


@pytest.mark.parametrize(("min_leaf", "total"), [(31, 1.0), (150, 0.0)])
def test_importances_are_those_of_the_trees_that_split(min_leaf: int, total: float) -> None:
    """Importances sum to 1, as scikit-learn's do, if some trees are a single leaf, and to 0 if all are."""
    hyperparameters = {"n_estimators": 20, "min_samples_leaf": min_leaf, "max_features": 1.0}
    iris = dataset.load_iris().part(np.arange(100))
    classifier = fitting.fit(iris, EstimatorConfig(hyperparameters=hyperparameters), 0)[-1]
    assert 1 in [tree.get_n_leaves() for tree in classifier.estimators_]
    _, shares = family_of(classifier).importances(classifier)
    assert shares.mean(axis=0).sum() == pytest.approx(total)
    assert shares.mean(axis=0) == pytest.approx(classifier.feature_importances_)


def test_every_estimator_that_can_be_chosen_has_its_hyperparameters() -> None:
    """The names for the command line are those that the tasks build, and each has the hyperparameters that can be set
    for some task."""
    found: dict[str, set[str]] = {}
    for kind in METRICS:
        for name in task_training(kind).estimators:
            found.setdefault(name, set()).update(catalog.all_hyperparameters(EstimatorConfig(name), kind))
    assert found == {name: set(known) for name, known in HYPERPARAMETERS.items()}
