"""Fitting: the same seed gives the same model, with any number of threads."""

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tabserve.training import EstimatorConfig, cross_validation, dataset, fitting
from tabserve.training.estimators import build, forest
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
