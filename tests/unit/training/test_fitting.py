"""Fitting: the same seed gives the same model, with any number of threads."""

from typing import Any

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info

from tabserve.training import EstimatorConfig, cross_validation, dataset, fitting
from tabserve.training.estimators import boosting, build, forest
from tests.support.models import Trained

FEW_TREES = EstimatorConfig(hyperparameters={"n_estimators": 5})


def test_same_seed_gives_the_same_model(trained: Trained) -> None:
    """Two fits with one seed agree in every probability; another seed gives another model."""
    rows, training = trained.parts.held_out.features, trained.parts.training
    first, second, other = (fitting.fit(training, FEW_TREES, seed).predict_proba(rows) for seed in (3, 3, 4))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("weights", [{}, {"class_weight": "balanced"}])
@pytest.mark.parametrize("estimator", ["random-forest", "extra-trees"])
def test_threads_and_parts_change_no_bit_of_a_forest(
    estimator: str, weights: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With any number of threads and parts, a forest and its probabilities are scikit-learn's to the last bit. The
    reported share of the work only grows, and ends with 1."""
    iris = dataset.load_iris().part(np.arange(130))
    config = EstimatorConfig(estimator, {"n_estimators": 30, **weights})
    whole = fitting.fit(iris, config, 3, threads=1)
    sklearn_own = make_pipeline(StandardScaler(), build(config, 3, "classification")).fit(iris.features, iris.target)
    assert np.array_equal(whole.predict_proba(iris.features), sklearn_own.predict_proba(iris.features))
    monkeypatch.setattr(forest, "LARGE", 100)
    shares: list[float] = []
    parts = fitting.fit(iris, config, 3, shares.append, threads=4)
    assert shares == sorted(shares)
    assert (len(shares) > 5, shares[-1]) == (True, 1)
    assert np.array_equal(whole.predict_proba(iris.features), parts.predict_proba(iris.features))
    assert parts[-1].get_params() == whole[-1].get_params()
    monkeypatch.setattr(fitting, "SMALL", 100)
    assert fitting.fit(iris, config, 3)[-1].n_jobs == 1
    shares.clear()
    validation = cross_validation.cross_validate(iris, config, 3, 3, shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    monkeypatch.undo()
    assert np.array_equal(validation.outputs, cross_validation.cross_validate(iris, config, 3, 3).outputs)


def test_boosting_of_a_small_table_uses_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradient boosting has one thread for a small table, and all for a larger one. The model is the same."""
    iris, config = dataset.load_iris(), EstimatorConfig("hist-gradient-boosting", {"max_iter": 3})
    all_threads = most_threads()
    used: list[int] = []

    def fit_and_look(self: boosting.BoostingFamily, *arguments: Any) -> None:
        used.append(most_threads())
        super(boosting.BoostingFamily, self).fit(*arguments)

    monkeypatch.setattr(boosting.BoostingFamily, "fit", fit_and_look, raising=False)
    small = fitting.fit(iris, config, 0)
    monkeypatch.setattr(fitting, "SMALL", 100)
    large = fitting.fit(iris, config, 0)
    assert used == [1, all_threads]
    assert most_threads() == all_threads
    assert np.array_equal(small.predict_proba(iris.features), large.predict_proba(iris.features))


def most_threads() -> int:
    """How many threads OpenMP would use now."""
    return max(int(one["num_threads"]) for one in threadpool_info() if one["user_api"] == "openmp")
