"""Classification in training: metrics and intervals by their definitions, and the rows that it needs."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeClassifier

from tabserve.model import Classification
from tabserve.model.task import Label
from tabserve.training import METRICS, EstimatorConfig, classification, cross_validation, dataset
from tabserve.training.class_results import class_metrics
from tabserve.training.dataset import Dataset
from tabserve.training.evaluation import score


def test_metrics_follow_their_definitions() -> None:
    """Accuracy, log loss, Brier score, F1 and AUC of a small case are those worked out by hand."""
    truth = pd.Series(["a", "a", "b", "c"])
    probabilities = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1], [0.0, 0.1, 0.9]])
    values = score(truth, probabilities, Classification(classes=("a", "b", "c")))
    assert tuple(values) == METRICS["classification"].names
    assert values["accuracy"] == 0.75
    assert values["balanced_accuracy"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert values["log_loss"] == pytest.approx(-np.log([0.7, 0.2, 0.8, 0.9]).mean())
    squared = [0.09 + 0.04 + 0.01, 0.64 + 0.25 + 0.09, 0.01 + 0.04 + 0.01, 0.01 + 0.01]
    assert values["brier_score"] == pytest.approx(np.mean(squared))
    assert values["f1_macro"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert values["roc_auc_ovr"] == pytest.approx(1.0)


def test_auc_of_two_classes_is_that_of_the_second() -> None:
    """With two classes the AUC is that of the second one."""
    truth = pd.Series(["no", "yes", "yes", "no"])
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]])
    assert score(truth, probabilities, Classification(classes=("no", "yes")))["roc_auc_ovr"] == 0.75


def test_class_metrics_and_their_intervals_follow_their_definitions() -> None:
    """Precision, recall and F1 of a class, and Wilson's intervals, are those worked out by hand. An interval keeps a
    width if every prediction was right, and is the whole range for the precision of a class that was never
    predicted."""
    a, b, c = class_metrics(np.array([[10, 0, 0], [2, 6, 0], [1, 1, 0]]))
    assert (a.recall.value, a.precision.value, a.held_out_rows) == (1, 10 / 13, 10)
    assert a.f1.value == pytest.approx(20 / 23)
    assert (a.recall.low, a.recall.high) == pytest.approx((0.7225, 1), abs=5e-5)
    assert (b.precision.low, b.precision.high) == pytest.approx((0.4869, 0.9743), abs=5e-5)
    low, high = (2 * share / (1 + share) for share in (0.4974, 0.9182))  # Wilson's interval of 10 of 13
    assert (a.f1.low, a.f1.high) == pytest.approx((low, high), abs=5e-5)
    assert (c.precision.value, c.precision.low, c.precision.high) == (0, 0, 1)
    assert (c.recall.value, c.f1.value, c.held_out_rows) == (0, 0, 2)
    for measured in (a, b, c):
        for estimate in (measured.precision, measured.recall, measured.f1):
            assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


@pytest.mark.parametrize("folds", [2, 5])
def test_boosting_has_the_rows_that_it_needs(folds: int) -> None:
    """As many rows of each class as training asks for are enough for gradient boosting, which sets some aside."""
    rows = classification.rows_needed("hist-gradient-boosting", folds, test_size=0.2)
    rng = np.random.default_rng(0)
    target = pd.Series(np.where(np.arange(25_000) < rows, "rare", "common"), name="kind", dtype="str")
    features = pd.DataFrame({"a": rng.normal(size=25_000)})
    parts = dataset.split(Dataset("large", features, target, classification.model_task(target)), 0.2, seed=0)
    config = EstimatorConfig("hist-gradient-boosting", {"max_iter": 2})
    assert cross_validation.cross_validate(parts.training, config, folds, 0).mean("accuracy") > 0.9


def test_rows_needed_grow_with_folds_and_with_a_small_held_out_part() -> None:
    """Each fold gets a row of every class after the held-out rows are taken away, and so do the held-out rows."""
    assert classification.rows_needed("random-forest", 5, 0.2) == 7
    assert classification.rows_needed("random-forest", 2, 0.01) == 100
    assert classification.rows_needed("random-forest", 2, 0.5) == 4
    assert classification.rows_needed("hist-gradient-boosting", 2, 0.5) == 8


@pytest.mark.parametrize(
    ("column", "classes", "labels"),
    [
        (["2", "10", "-1", "2"], ("-1", "2", "10"), (-1, 2, 10)),
        ([10, 2, 2, 0], ("0", "2", "10"), (0, 2, 10)),
        ([1.0, 2.0, None], ("1", "2"), (1, 2)),
        (["0.5", "1.5", "0.5"], ("0.5", "1.5"), (0.5, 1.5)),
        ([True, False], ("False", "True"), (False, True)),
        (["true", "false"], ("False", "True"), (False, True)),
        (["01", "2", "10"], ("01", "10", "2"), ("01", "10", "2")),
        (["2", "10", "x"], ("10", "2", "x"), ("10", "2", "x")),
        (["true", "False"], ("False", "true"), ("False", "true")),
        (["9" * 30, "1"], ("1", "9" * 30), ("1", "9" * 30)),
    ],
)
def test_classes_have_the_type_and_the_order_of_the_table(
    column: list[Any], classes: tuple[str, ...], labels: tuple[Label, ...]
) -> None:
    """Classes that are whole numbers or booleans have their order, and labels of their type. Codes with leading zeros,
    and numbers beside texts, are texts. scikit-learn has the same order."""
    raw = pd.Series(column, name="kind")
    target = classification.read_target(raw[raw.notna()])
    task = classification.model_task(target)
    assert (task.classes, task.labels) == (classes, labels)
    assert [type(label) for label in task.labels] == [type(label) for label in labels]
    fitted = DecisionTreeClassifier().fit(np.arange(len(target)).reshape(-1, 1), target)
    assert [str(label) for label in fitted.classes_] == list(classes)
    assert classification.true_values(target, task).tolist() == [classes.index(str(label)) for label in target]


def test_estimator_of_numbers_is_refused_with_those_of_classes() -> None:
    """The message names each that fits."""
    problem = classification.config_problem(EstimatorConfig("ridge"), pd.Series(["a", "b"], name="kind"))
    assert problem == (
        "--estimator ridge predicts a number; 'kind' has classes: use random-forest, extra-trees, "
        "hist-gradient-boosting, logistic-regression, or --task regression"
    )
