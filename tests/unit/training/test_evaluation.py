"""How good a model is: an evaluation is complete, and a comparison says how sure it is."""

import numpy as np
import pandas as pd
import pytest

from tabserve.model import Classification
from tabserve.training import METRICS, evaluation
from tabserve.training.class_results import ClassResults
from tests.support.models import Trained

TWO_CLASSES = Classification(classes=("a", "b"))


def test_evaluation_is_complete_and_reports_its_progress(trained: Trained) -> None:
    """An evaluation has every metric, every class, a confusion matrix of all rows, and importances that sum to 1. The
    reported share of the work grows to 1."""
    shares: list[float] = []
    evaluated = evaluation.evaluate(trained.pipeline, trained.parts.held_out, 0, shares.append)
    assert shares == sorted(shares)
    assert (len(shares), shares[-1]) == (1 + 4 * evaluation.PERMUTATIONS, 1)
    assert tuple(evaluated.metrics) == METRICS["classification"].names
    results = evaluated.results
    assert isinstance(results, ClassResults)
    assert list(results.by_class) == ["setosa", "versicolor", "virginica"]
    assert results.confusion.sum() == 30
    assert results.confusion.diagonal().sum() / 30 == evaluated.metrics["accuracy"]
    assert evaluated.importances["impurity"].sum() == pytest.approx(1)
    assert set(evaluated.importances["feature"]) == set(trained.schema.feature_names)


@pytest.fixture
def truth() -> pd.Series:
    return pd.Series(["a", "b"] * 20)


@pytest.fixture
def right(truth: pd.Series) -> np.ndarray:
    """Probabilities of a model that is always right."""
    return np.where((truth == "a").to_numpy()[:, None], [0.9, 0.1], [0.1, 0.9])


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "roc_auc_ovr", "log_loss", "brier_score"])
def test_comparison_is_sure_of_a_model_that_is_better_everywhere(
    metric: str, truth: pd.Series, right: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model has no difference from itself; and it is better for sure than one that guesses, in the direction of each
    metric. The same seed gives the same interval."""
    monkeypatch.setattr(evaluation, "RESAMPLES", 200)  # as clear as 1000, and five times as fast
    guess = np.random.default_rng(0).dirichlet([1, 1], len(truth))
    same = evaluation.compare(metric, truth, guess, guess, (TWO_CLASSES, TWO_CLASSES), seed=1)
    assert (same.low, same.high, same.candidate_is_better) == (0, 0, False)
    better = evaluation.compare(metric, truth, right, guess, (TWO_CLASSES, TWO_CLASSES), seed=1)
    assert better.candidate_is_better
    lower_is_better = metric in METRICS["classification"].lower_is_better
    assert max(better.low, better.high) < 0 if lower_is_better else better.low > 0
    assert better.low <= better.candidate - better.champion <= better.high
    assert evaluation.compare(metric, truth, right, guess, (TWO_CLASSES, TWO_CLASSES), seed=1) == better


def test_comparison_is_not_sure_of_a_single_row(
    truth: pd.Series, right: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more right row of 40 may be chance: the interval includes 0."""
    monkeypatch.setattr(evaluation, "RESAMPLES", 200)
    almost = right.copy()
    almost[0] = almost[0][::-1]
    shares: list[float] = []
    chance = evaluation.compare("accuracy", truth, right, almost, (TWO_CLASSES, TWO_CLASSES), 1, shares.append)
    assert (len(shares), shares[-1]) == (200, 1)
    assert (chance.candidate, chance.champion, chance.low) == (1, 0.975, 0)
    assert chance.high > 0
