"""Training: repeatable, scaled inside the folds, and measured by the definitions."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from classifier import data, report, training
from classifier.errors import DataError
from classifier.recipe import Recipe
from tests.conftest import Trained

FEW = Recipe(given={"n_estimators": 5})


def test_the_same_seed_gives_the_same_model(trained: Trained) -> None:
    """Two fits with one seed agree in every probability; another seed gives another model."""
    rows = trained.parts.held_out.features
    first, second, other = (training.fit(trained.parts.training, FEW, seed).predict_proba(rows) for seed in (3, 3, 4))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_scaling_is_fitted_inside_the_folds(trained: Trained) -> None:
    """The out-of-fold probabilities are those of scikit-learn's own cross-validation of the whole pipeline."""
    table = trained.parts.training
    ours = training.cross_validate(table, FEW, folds=4, seed=5)
    splitter = StratifiedKFold(4, shuffle=True, random_state=5)
    pipeline = training.fit(table, FEW, seed=5)
    theirs = cross_val_predict(pipeline, table.features, table.target, cv=splitter, method="predict_proba")
    assert np.array_equal(ours.probabilities, theirs)
    assert {len(values) for values in ours.folds.values()} == {4}


def test_more_folds_than_rows_of_a_class_are_refused(trained: Trained) -> None:
    """Folds that can't all hold every class are refused, with the number that is possible."""
    with pytest.raises(DataError, match="the rarest has 40"):
        training.cross_validate(trained.parts.training, FEW, folds=41, seed=0)


def test_metrics_follow_their_definitions() -> None:
    """Accuracy, log loss, Brier score, F1 and AUC of a small case are those worked out by hand."""
    truth = pd.Series(["a", "a", "b", "c"])
    probabilities = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1], [0.0, 0.1, 0.9]])
    found = training.score(truth, probabilities, ["a", "b", "c"])
    assert set(found) == set(training.METRICS)
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
    assert training.score(truth, probabilities, ["no", "yes"])["roc_auc_ovr"] == 0.75


def test_better_means_better_in_the_metrics_own_direction() -> None:
    """More accuracy is better, less log loss is; a draw and a NaN are not."""
    assert training.is_better("accuracy", 0.9, 0.8)
    assert not training.is_better("accuracy", 0.8, 0.9)
    assert training.is_better("log_loss", 0.1, 0.2)
    assert not training.is_better("log_loss", 0.2, 0.1)
    assert not training.is_better("accuracy", 0.9, 0.9)
    assert not training.is_better("log_loss", float("nan"), 0.2)


def test_an_evaluation_says_everything(trained: Trained) -> None:
    """The evaluation has every metric, every class, a confusion matrix of all rows, and importances that sum to 1."""
    found = training.evaluate(trained.pipeline, trained.parts.held_out, seed=0)
    assert set(found.metrics) == set(training.METRICS)
    assert list(found.per_class) == ["setosa", "versicolor", "virginica"]
    assert found.confusion.sum() == 30
    assert found.confusion.diagonal().sum() / 30 == found.metrics["accuracy"]
    assert found.importances.impurity.sum() == pytest.approx(1)
    assert set(found.importances.feature) == set(trained.schema.feature_names)


def test_the_schema_has_the_training_ranges(trained: Trained) -> None:
    """Ranges are those of the training rows, and what the model can't compute with lies outside the bounds."""
    for feature in trained.schema.features:
        column = trained.parts.training.features[feature.name]
        assert (feature.minimum, feature.maximum) == (column.min(), column.max())
    scaler = trained.pipeline.named_steps["scaler"]
    for bound in ("lowest", "highest"):
        row = np.array([getattr(feature, bound) for feature in trained.schema.features])
        assert np.isfinite(((row - scaler.mean_) / scaler.scale_).astype(np.float32)).all()


def test_named_metrics_are_flat_numbers(trained: Trained) -> None:
    """Every number of a training has one flat name, with its place and its class or feature in it."""
    validation = training.cross_validate(trained.parts.training, FEW, folds=3, seed=0)
    evaluation = training.evaluate(trained.pipeline, trained.parts.held_out, seed=0)
    named = training.named_metrics(validation, evaluation)
    for name in ("test_accuracy", "cv_log_loss_mean", "cv_log_loss_std"):
        assert isinstance(named[name], float)
    assert named["importance_impurity_petal_width"] > named["importance_impurity_sepal_width"]
    assert all(f"test_f1_{name}" in named for name in trained.schema.classes)


def test_a_comparison_says_how_sure_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one model with itself the difference is 0 throughout; a model that is right where the other guesses is better
    for sure, in each metric's own direction; and one row more right of 40 may be chance."""
    monkeypatch.setattr(training, "RESAMPLES", 200)  # as clear, and five times as fast
    truth = pd.Series(["a", "b"] * 20)
    right = np.where((truth == "a").to_numpy()[:, None], [0.9, 0.1], [0.1, 0.9])
    guess = np.random.default_rng(0).dirichlet([1, 1], len(truth))
    for metric in ("accuracy", "f1_macro", "roc_auc_ovr", "log_loss", "brier_score"):
        same = training.compare(metric, truth, guess, guess, ["a", "b"], seed=1)
        assert (same.low, same.high) == (0, 0)
        better = training.compare(metric, truth, right, guess, ["a", "b"], seed=1)
        assert training.is_better(metric, better.ours, better.theirs)
        assert max(better.low, better.high) < 0 if metric in training.LOWER_IS_BETTER else better.low > 0
        assert better.low <= better.ours - better.theirs <= better.high
        assert training.compare(metric, truth, right, guess, ["a", "b"], seed=1) == better
    almost = right.copy()
    almost[0] = almost[0][::-1]
    chance = training.compare("accuracy", truth, right, almost, ["a", "b"], seed=1)
    assert (chance.ours, chance.theirs, chance.low) == (1, 0.975, 0)
    assert chance.high > 0


def test_a_column_that_knows_the_class_is_found() -> None:
    """A column that is made of the class is named, be it a number or a category; no column of Iris is."""
    table = data.load_iris()
    assert training.leaks(table, 0) == {}
    numbers = table.target.map({"setosa": 0.1, "versicolor": 0.7, "virginica": 0.3})
    told = replace(table, features=table.features.assign(code=numbers, short=table.target.str[:3].astype("str")))
    assert training.leaks(told, 0) == {"code": 1.0, "short": 1.0}
    said = report.warnings(told, {"code": 0.995})
    assert said == [
        (
            "warning: 'code' alone tells species in 99.5% of the cases: is it known before the class is? "
            "If not, --drop 'code'"
        )
    ]
    few = table.part(np.arange(60))
    assert [line[:40] for line in report.warnings(few, {})] == ["warning: the classes are not balanced, s"]
