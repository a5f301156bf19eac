"""Training: repeatable, scaled inside the folds, and measured by the definitions."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import train_model
from tabserve.errors import DataError
from tabserve.reporting import report
from tabserve.training import dataset, estimators, evaluation, fitting
from tabserve.training.config import EstimatorConfig
from tabserve.training.dataset import Table
from tests.support.models import Trained

FEW = EstimatorConfig(given={"n_estimators": 5})


def test_the_same_seed_gives_the_same_model(trained: Trained) -> None:
    """Two fits with one seed agree in every probability; another seed gives another model."""
    rows = trained.parts.held_out.features
    first, second, other = (fitting.fit(trained.parts.training, FEW, seed).predict_proba(rows) for seed in (3, 3, 4))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_scaling_is_fitted_inside_the_folds(trained: Trained) -> None:
    """The out-of-fold probabilities are those of scikit-learn's own cross-validation of the whole pipeline."""
    table = trained.parts.training
    ours = fitting.cross_validate(table, FEW, folds=4, seed=5)
    splitter = StratifiedKFold(4, shuffle=True, random_state=5)
    pipeline = fitting.fit(table, FEW, seed=5)
    theirs = cross_val_predict(pipeline, table.features, table.target, cv=splitter, method="predict_proba")
    assert np.array_equal(ours.probabilities, theirs)
    assert {len(values) for values in ours.folds.values()} == {4}


def test_more_folds_than_rows_of_a_class_are_refused(trained: Trained) -> None:
    """Folds that can't all hold every class are refused, with the number that is possible."""
    with pytest.raises(DataError, match="the rarest has 40"):
        fitting.cross_validate(trained.parts.training, FEW, folds=41, seed=0)


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
    validation = fitting.cross_validate(trained.parts.training, FEW, folds=3, seed=0)
    evaluated = evaluation.evaluate(trained.pipeline, trained.parts.held_out, seed=0)
    named = fitting.named_metrics(validation, evaluated)
    for name in ("test_accuracy", "cv_log_loss_mean", "cv_log_loss_std"):
        assert isinstance(named[name], float)
    assert named["importance_impurity_petal_width"] > named["importance_impurity_sepal_width"]
    assert all(f"test_f1_{name}" in named for name in trained.schema.task.classes)


def test_a_column_that_knows_the_class_is_found() -> None:
    """A column that is made of the class is named, be it a number or a category, and however rare the class; no column
    of Iris or of noise is, and none where only one class has enough rows to tell."""
    table = dataset.load_iris()
    assert fitting.leaks(table, 0) == {}
    numbers = table.target.map({"setosa": 0.1, "versicolor": 0.7, "virginica": 0.3})
    told = replace(table, features=table.features.assign(code=numbers, short=table.target.str[:3].astype("str")))
    assert fitting.leaks(told, 0) == {"code": 1.0, "short": 1.0}
    said = report.warnings(told, {"code": 0.995})
    assert said == [
        (
            "warning: 'code' alone tells species in 99.5% of the cases: is it known before the class is? "
            "If not, --drop 'code'"
        )
    ]
    rng = np.random.default_rng(0)
    noise = pd.DataFrame(rng.normal(size=(40_000, 2)), columns=["a", "b"])
    rare = pd.Series(np.where(np.arange(40_000) < 7, "yes", "no"), name="rare", dtype="str")
    assert fitting.leaks(Table("noise", noise, rare), 0) == {}
    told = Table("noise", noise.assign(c=(rare == "yes").astype(float)), rare)
    assert fitting.leaks(told, 0) == {"c": 1.0}
    assert fitting.leaks(told.part(np.arange(5, 40_000)), 0) == {}
    few = table.part(np.arange(60))
    assert [line[:40] for line in report.warnings(few, {})] == ["warning: the classes are not balanced, s"]


@pytest.mark.parametrize("weighted", [{}, {"class_weight": "balanced"}])
@pytest.mark.parametrize("estimator", ["random-forest", "extra-trees"])
def test_threads_and_parts_change_nothing(
    estimator: str, weighted: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many threads and parts a forest is fitted in, its trees, and what it answers, are scikit-learn's to the
    last bit; the share that is told only grows, and ends with all."""
    table = dataset.load_iris().part(np.arange(130))
    recipe = EstimatorConfig(estimator, {"n_estimators": 30, **weighted})
    whole = fitting.fit(table, recipe, 3, threads=1)
    theirs = make_pipeline(StandardScaler(), estimators.estimator(recipe, 3)).fit(table.features, table.target)
    assert np.array_equal(whole.predict_proba(table.features), theirs.predict_proba(table.features))
    monkeypatch.setattr(fitting, "LARGE", 100)
    told: list[float] = []
    parts = fitting.fit(table, recipe, 3, told.append, threads=4)
    assert told == sorted(told)
    assert (len(told) > 5, told[-1]) == (True, 1)
    assert np.array_equal(whole.predict_proba(table.features), parts.predict_proba(table.features))
    assert parts[-1].get_params() == whole[-1].get_params()
    monkeypatch.setattr(fitting, "SMALL", 100)
    assert fitting.fit(table, recipe, 3)[-1].n_jobs == 1
    told.clear()
    validated = fitting.cross_validate(table, recipe, 3, 3, told.append)
    assert told == sorted(told)
    assert told[-1] == 1
    monkeypatch.undo()
    assert np.array_equal(validated.probabilities, fitting.cross_validate(table, recipe, 3, 3).probabilities)


def test_large_models_have_a_limit() -> None:
    """Where so many rows could make trees that take more than their megabytes, their leaves are limited to as many as
    fit; a limit that was set by hand stays, and trees that can't get so large have none."""
    most = estimators.TREES_BYTES // (100 * (2 * 16 + 8 * 3))
    assert estimators.bounded(EstimatorConfig(), most, 3) == EstimatorConfig()
    assert estimators.bounded(EstimatorConfig(), most + 1, 3).given == {"max_leaf_nodes": most}
    boosting, small = EstimatorConfig("hist-gradient-boosting"), {"max_iter": 50, "min_samples_leaf": 5000}
    assert estimators.bounded(boosting, 10**6, 100).given == {"max_leaf_nodes": 12}
    for other, rows, classes in (
        (EstimatorConfig(given={"min_samples_leaf": 10}), 10 * most, 3),
        (EstimatorConfig(given={"max_depth": 14}), 10**6, 3),
        (EstimatorConfig(given={"max_depth": 10**9}), most, 3),
        (EstimatorConfig(given={"max_leaf_nodes": 10**9}), 10**6, 3),
        (EstimatorConfig("extra-trees", {"n_estimators": 1}), 10**6, 3),
        (boosting, 10**6, 50),
        (replace(boosting, given=small), 10**5, 100),
        (EstimatorConfig("logistic-regression"), 10**6, 100),
    ):
        assert estimators.bounded(other, rows, classes) == other
    searched = replace(boosting, given={"max_leaf_nodes": 128, "max_iter": 400})
    assert estimators.bounded(searched, 10**6, 100, by_hand=()).given == {"max_leaf_nodes": 3, "max_iter": 400}
    assert estimators.bounded(searched, 10**6, 100, by_hand=("max_leaf_nodes",)) == searched


def test_trees_that_ask_nothing_have_no_say() -> None:
    """Importances sum to 1, as scikit-learn's do, where some trees are a single leaf, and to 0 where all are."""
    table = dataset.load_iris()
    for leaf, total in ((31, 1.0), (150, 0.0)):
        recipe = EstimatorConfig(given={"n_estimators": 20, "min_samples_leaf": leaf, "max_features": 1.0})
        classifier = fitting.fit(table.part(np.arange(100)), recipe, 0)[-1]
        leaves = [tree.get_n_leaves() for tree in classifier.estimators_]
        assert 1 in leaves
        _, shares = estimators.own_importances(classifier)
        assert shares.mean(axis=0).sum() == pytest.approx(total)
        assert shares.mean(axis=0) == pytest.approx(classifier.feature_importances_)


def test_boosting_has_the_rows_that_it_needs() -> None:
    """As many rows of each class as are asked for are enough for gradient boosting, which sets some aside, in however
    few folds."""
    for folds in (2, 5):
        options = train_model.parse(["--estimator", "hist-gradient-boosting", "--folds", str(folds)])
        of_class = train_model.least_rows(options)
        rng = np.random.default_rng(0)
        target = pd.Series(np.where(np.arange(25_000) < of_class, "rare", "common"), name="kind", dtype="str")
        table = Table("large", pd.DataFrame({"a": rng.normal(size=25_000)}), target)
        parts = dataset.split(table, options.test_size, 0)
        recipe = EstimatorConfig("hist-gradient-boosting", {"max_iter": 2})
        assert fitting.cross_validate(parts.training, recipe, folds, 0).mean("accuracy") > 0.9
