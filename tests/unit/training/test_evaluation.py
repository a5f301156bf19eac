"""How good a model is: metrics, intervals and comparisons by the definitions."""

import numpy as np
import pandas as pd
import pytest

from tabserve.training import evaluation
from tests.support.models import Trained


def test_metrics_follow_their_definitions() -> None:
    """Accuracy, log loss, Brier score, F1 and AUC of a small case are those worked out by hand."""
    truth = pd.Series(["a", "a", "b", "c"])
    probabilities = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1], [0.0, 0.1, 0.9]])
    found = evaluation.score(truth, probabilities, ["a", "b", "c"])
    assert set(found) == set(evaluation.METRICS)
    assert found["accuracy"] == 0.75
    assert found["balanced_accuracy"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert found["log_loss"] == pytest.approx(-np.log([0.7, 0.2, 0.8, 0.9]).mean())
    squared = [0.09 + 0.04 + 0.01, 0.64 + 0.25 + 0.09, 0.01 + 0.04 + 0.01, 0.01 + 0.01]
    assert found["brier_score"] == pytest.approx(np.mean(squared))
    assert found["f1_macro"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert found["roc_auc_ovr"] == pytest.approx(1.0)


def test_a_table_of_two_classes_can_be_scored() -> None:
    """With two classes the AUC is that of the second one."""
    truth = pd.Series(["no", "yes", "yes", "no"])
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]])
    assert evaluation.score(truth, probabilities, ["no", "yes"])["roc_auc_ovr"] == 0.75


def test_better_means_better_in_the_metrics_own_direction() -> None:
    """More accuracy is better, less log loss is, and anything than a NaN; a draw and a NaN are not."""
    assert evaluation.is_better("accuracy", 0.9, 0.8)
    assert not evaluation.is_better("accuracy", 0.8, 0.9)
    assert evaluation.is_better("log_loss", 0.1, 0.2)
    assert not evaluation.is_better("log_loss", 0.2, 0.1)
    assert not evaluation.is_better("accuracy", 0.9, 0.9)
    assert not evaluation.is_better("log_loss", float("nan"), 0.2)
    assert evaluation.is_better("log_loss", 0.2, float("nan"))


def test_an_evaluation_says_everything(trained: Trained) -> None:
    """The evaluation has every metric, every class, a confusion matrix of all rows, and importances that sum to 1, and
    tells how far it is."""
    told: list[float] = []
    found = evaluation.evaluate(trained.pipeline, trained.parts.held_out, 0, told.append)
    assert told == sorted(told)
    assert (len(told), told[-1]) == (1 + 4 * evaluation.PERMUTATIONS, 1)
    assert set(found.metrics) == set(evaluation.METRICS)
    assert list(found.by_class) == ["setosa", "versicolor", "virginica"]
    assert found.confusion.sum() == 30
    assert found.confusion.diagonal().sum() / 30 == found.metrics["accuracy"]
    assert found.importances.impurity.sum() == pytest.approx(1)
    assert set(found.importances.feature) == set(trained.schema.feature_names)


def test_a_comparison_says_how_sure_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one model with itself the difference is 0 throughout; a model that is right where the other guesses is better
    for sure, in each metric's own direction; and one row more right of 40 may be chance."""
    monkeypatch.setattr(evaluation, "RESAMPLES", 200)  # as clear, and five times as fast
    truth = pd.Series(["a", "b"] * 20)
    right = np.where((truth == "a").to_numpy()[:, None], [0.9, 0.1], [0.1, 0.9])
    guess = np.random.default_rng(0).dirichlet([1, 1], len(truth))
    for metric in ("accuracy", "f1_macro", "roc_auc_ovr", "log_loss", "brier_score"):
        same = evaluation.compare(metric, truth, guess, guess, ["a", "b"], seed=1)
        assert (same.low, same.high) == (0, 0)
        better = evaluation.compare(metric, truth, right, guess, ["a", "b"], seed=1)
        assert evaluation.is_better(metric, better.ours, better.theirs)
        assert max(better.low, better.high) < 0 if metric in evaluation.LOWER_IS_BETTER else better.low > 0
        assert better.low <= better.ours - better.theirs <= better.high
        assert evaluation.compare(metric, truth, right, guess, ["a", "b"], seed=1) == better
    almost = right.copy()
    almost[0] = almost[0][::-1]
    told: list[float] = []
    chance = evaluation.compare("accuracy", truth, right, almost, ["a", "b"], 1, told.append)
    assert (len(told), told[-1]) == (200, 1)
    assert (chance.ours, chance.theirs, chance.low) == (1, 0.975, 0)
    assert chance.high > 0


def test_intervals_by_class_are_those_of_the_definitions() -> None:
    """Precision, recall and F1 of a class, and Wilson's intervals, are those worked out by hand; where all was right an
    interval has a width still, and of a class that was never predicted nothing is known."""
    a, b, c = evaluation.of_classes(np.array([[10, 0, 0], [2, 6, 0], [1, 1, 0]]))
    assert (a.recall.value, a.precision.value, a.rows) == (1, 10 / 13, 10)
    assert a.f1.value == pytest.approx(20 / 23)
    assert (a.recall.low, a.recall.high) == pytest.approx((0.7225, 1), abs=5e-5)
    assert (b.precision.low, b.precision.high) == pytest.approx((0.4869, 0.9743), abs=5e-5)
    low, high = (2 * share / (1 + share) for share in (0.4974, 0.9182))  # of 10 of 13, Wilson's interval
    assert (a.f1.low, a.f1.high) == pytest.approx((low, high), abs=5e-5)
    assert (c.precision.value, c.precision.low, c.precision.high) == (0, 0, 1)
    assert (c.recall.value, c.f1.value, c.rows) == (0, 0, 2)
    for of_class in (a, b, c):
        assert all(0 <= one.low <= one.value <= one.high <= 1 for one in of_class.estimates.values())
