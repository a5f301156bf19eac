"""Decisions of classifiers: thresholds that are chosen, and prediction sets that hold what they promise."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer

from tabserve.errors import DataError
from tabserve.model import Classification
from tabserve.training import (
    THRESHOLD_METRICS,
    DecisionOptions,
    EstimatorConfig,
    classification,
    cross_validation,
    dataset,
    fitting,
)
from tabserve.training.dataset import Dataset
from tabserve.training.thresholds import best_threshold

TASK = Classification(classes=("no", "yes"))

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 10)), min_size=4, max_size=30).filter(
    lambda rows: len({is_positive for is_positive, _ in rows}) == 2
)


def noisy_cancer() -> Dataset:
    """569 tumours with three measurements only, so that classifiers are often unsure."""
    frame = load_breast_cancer(as_frame=True).frame
    features = frame[["mean texture", "mean smoothness", "mean symmetry"]].astype("float64")
    target = frame["target"].map({0: "malignant", 1: "benign"}).astype(object).rename("kind")
    return Dataset("cancer", features, target, classification.model_task(target))


@pytest.mark.parametrize("metric", THRESHOLD_METRICS)
@settings(max_examples=25, deadline=None)
@given(rows=ROWS)
def test_best_threshold_is_as_good_as_any(metric: str, rows: list[tuple[bool, int]]) -> None:
    """No other threshold gives a better value of the metric."""
    truth = np.array([int(is_positive) for is_positive, _ in rows])
    probabilities = np.array([tenths / 10 for _, tenths in rows])
    outputs = np.column_stack([1 - probabilities, probabilities])

    def value(threshold: float) -> float:
        task = Classification(classes=TASK.classes, threshold=threshold, positive="yes")
        return classification.metric_value(metric, truth, outputs, task)

    best = best_threshold(metric, truth == 1, probabilities)
    assert 0 < best < 1
    assert value(best) >= max(value(tenths / 10 + 0.05) for tenths in range(10)) - 1e-9


def test_threshold_counts_in_cross_validation_and_evaluation() -> None:
    """With a threshold, the decisions that are measured are those of the threshold, of the folds and of held-out rows;
    what doesn't depend on decisions stays."""
    parts = dataset.split(noisy_cancer(), 0.2, seed=0)
    validation = cross_validation.cross_validate(parts.training, EstimatorConfig("logistic-regression"), 4, seed=0)
    target = validation.target
    task = classification.model_task(target)
    options = DecisionOptions(threshold="balanced_accuracy", positive="malignant")
    bold = classification.calibrated(task, target, target, validation.outputs, options)
    assert bold.positive == "malignant"
    assert bold.threshold is not None
    measured = validation.with_task(bold)
    assert measured.mean("balanced_accuracy") > validation.mean("balanced_accuracy")
    assert measured.folds["log_loss"] == validation.folds["log_loss"]
    truth = classification.true_values(target, task)
    predicted = classification.results(truth, validation.outputs, bold).confusion.sum(axis=0)
    assert predicted[1] == (validation.outputs[:, 1] >= bold.threshold).sum()
    assert validation.with_task(task).folds == validation.folds


@pytest.mark.parametrize(
    ("options", "task", "problem"),
    [
        (DecisionOptions(), TASK, None),
        (DecisionOptions(threshold=0.3), TASK, None),
        (DecisionOptions(threshold=0.3, positive="maybe"), TASK, "there is no class 'maybe'; there are no and yes"),
        (DecisionOptions(threshold=0.3), Classification(classes=("a", "b", "c")), "for two classes, and there are 3"),
    ],
)
def test_threshold_that_fits_no_class_is_refused(
    options: DecisionOptions, task: Classification, problem: str | None
) -> None:
    """A threshold is for two classes, and the positive one must exist. The message names the classes."""
    found = classification.decision_problem(options, task)
    assert found is None if problem is None else problem in (found or "")


@pytest.mark.parametrize("estimator", ["logistic-regression", "random-forest"])
def test_prediction_sets_hold_the_share_that_they_promise(estimator: str) -> None:
    """Over 20 random splits the prediction sets have the true class of 90 % of the held-out rows in the mean, to within
    2 %, and not by having all classes. `python -m benchmarks.intervals` measures more splits and tables."""
    whole, found = noisy_cancer(), []
    config = EstimatorConfig(estimator, {"n_estimators": 20} if estimator == "random-forest" else {})
    for seed in range(20):
        parts = dataset.split(whole, 0.2, seed)
        validation = cross_validation.cross_validate(parts.training, config, 3, seed)
        target = validation.target
        task = classification.calibrated(
            classification.model_task(target), target, target, validation.outputs, DecisionOptions()
        )
        outputs = classification.outputs(fitting.fit(parts.training, config, seed), parts.held_out.features)
        results = classification.results(classification.true_values(parts.held_out.target, task), outputs, task)
        found.append((results.set_coverage, results.set_size))
    coverage, size = np.mean(found, axis=0)
    assert coverage > 0.88
    assert size < 1.8


def test_prediction_sets_need_enough_rows() -> None:
    """A coverage that the rows are too few for is refused, with the number that it needs."""
    target = pd.Series(["no", "yes"] * 20, dtype=object)
    outputs = np.full((40, 2), 0.5)
    with pytest.raises(DataError, match=r"--coverage 0\.99 needs 99 training rows, and there are 40"):
        classification.calibrated(TASK, target, target, outputs, DecisionOptions(coverage=0.99))
