"""Training: repeatable, scaled inside the folds, and measured by the definitions."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from classifier import data, estimators, quality, report, training
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
    evaluation = quality.evaluate(trained.pipeline, trained.parts.held_out, seed=0)
    named = training.named_metrics(validation, evaluation)
    for name in ("test_accuracy", "cv_log_loss_mean", "cv_log_loss_std"):
        assert isinstance(named[name], float)
    assert named["importance_impurity_petal_width"] > named["importance_impurity_sepal_width"]
    assert all(f"test_f1_{name}" in named for name in trained.schema.classes)


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


@pytest.mark.parametrize("estimator", ["random-forest", "extra-trees"])
def test_threads_and_parts_change_nothing(estimator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many threads and parts a forest is fitted in, its trees, and what it answers, are the same to the last
    bit; the share that is told only grows, and ends with all."""
    table, recipe = data.load_iris(), Recipe(estimator, {"n_estimators": 15})
    whole = training.fit(table, recipe, 3, threads=1)
    monkeypatch.setattr(training, "LARGE", 100)
    told: list[float] = []
    parts = training.fit(table, recipe, 3, told.append, threads=4)
    assert told == sorted(told)
    assert (len(told) > 5, told[-1]) == (True, 1)
    assert np.array_equal(whole.predict_proba(table.features), parts.predict_proba(table.features))
    assert parts[-1].get_params() == whole[-1].get_params()
    monkeypatch.setattr(training, "SMALL", 100)
    assert training.fit(table, recipe, 3)[-1].n_jobs == 1
    told.clear()
    validated = training.cross_validate(table, recipe, 3, 3, told.append)
    assert told == sorted(told)
    assert told[-1] == 1
    monkeypatch.undo()
    assert np.array_equal(validated.probabilities, training.cross_validate(table, recipe, 3, 3).probabilities)


def test_large_forests_have_a_limit() -> None:
    """Of more rows than those of which a forest keeps within its megabytes, the leaves of its trees are limited to as
    many as fit; a limit that is given stays, and what isn't a forest gets none."""
    most = estimators.FOREST_BYTES // (100 * (2 * 16 + 8 * 3))
    assert estimators.bounded(Recipe(), most, 3) == Recipe()
    assert estimators.bounded(Recipe(), most + 1, 3).given == {"max_leaf_nodes": most}
    assert estimators.bounded(Recipe(given={"min_samples_leaf": 10}), 10 * most, 3).given == {"min_samples_leaf": 10}
    for other in (
        Recipe(given={"max_leaf_nodes": 10**9}),
        Recipe("hist-gradient-boosting"),
        Recipe("extra-trees", {"n_estimators": 1}),
    ):
        assert estimators.bounded(other, most + 1, 3) == other
