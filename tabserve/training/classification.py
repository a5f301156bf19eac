"""Classification, for training: all that is true of classes and probabilities only. The module is a `TaskTraining`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pandera
from numpy.typing import NDArray
from pandas.api.types import is_bool_dtype, is_numeric_dtype, is_string_dtype
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier

from tabserve.errors import DataError
from tabserve.model import Classification, Matrix
from tabserve.model.compiled import Link
from tabserve.model.task import LabelType, listed
from tabserve.training.class_results import ClassResults, class_results
from tabserve.training.columns import as_text, has_fractions, share_of_numbers
from tabserve.training.config import CRITERIA, DecisionOptions, EstimatorConfig
from tabserve.training.conformal import conformal_quantile
from tabserve.training.dataset import Dataset, RowNumbers
from tabserve.training.estimators import EstimatorType
from tabserve.training.estimators.boosting import BOOSTING
from tabserve.training.estimators.forest import FOREST
from tabserve.training.estimators.linear import LINEAR
from tabserve.training.number_formats import DecimalSign
from tabserve.training.tasks import METRICS
from tabserve.training.thresholds import best_threshold

metrics = METRICS["classification"]

estimators: Mapping[str, EstimatorType] = {
    "random-forest": EstimatorType(RandomForestClassifier, FOREST),
    "extra-trees": EstimatorType(ExtraTreesClassifier, FOREST),
    "hist-gradient-boosting": EstimatorType(HistGradientBoostingClassifier, BOOSTING),
    "logistic-regression": EstimatorType(LogisticRegression, LINEAR),
}

estimator_step = "classifier"

WHOLE_NUMBER, FRACTION = re.compile(r"-?[1-9]\d{0,17}|0"), re.compile(r"-?(0|[1-9]\d{0,14})\.\d{1,15}")
"""Classes that are numbers, as a table writes them. A code such as 007 is none."""

MAX_CLASSES, MAX_NUMERIC_CLASSES = 100, 20
"""A target column with more values is a quantity; the second holds if the values are numbers, and not all whole."""

BOOSTING_FOLDS = 4
"""Gradient boosting sets rows of each class aside, to see when to stop, and needs two to learn from. They are there if
each class has as many rows as four folds need."""

LEAKAGE_ROWS, LEAKAGE_FOLDS = 10_000, 3
"""Leakage is measured on at most so many rows, by cross-validation in so many folds."""


# -- the table


def read_target(column: pd.Series, _decimal: DecimalSign | None = None, has_types: bool = False) -> pd.Series:
    """The classes: whole numbers and booleans as such, all others as the table writes them. Texts of a table that has
    types have the dtype `str`, and are texts even if they look like numbers; other texts are objects."""
    texts = as_text(column)
    present = set(texts.dropna())
    if has_types and is_string_dtype(column.dropna()):
        return texts
    if texts.isna().any() or not present:
        return texts.astype(object)
    if present in ({"True", "False"}, {"true", "false"}):
        return texts.str.lower() == "true"
    if all(map(WHOLE_NUMBER.fullmatch, present)):
        return texts.astype("int64")
    return texts.astype(object)


def target_checks(target: pd.Series, rows_needed: int, fewest_rows: int) -> Iterator[pandera.Check]:
    """There are at least two classes, not too many, and each has the rows that the training needs."""
    counts = target.value_counts()
    name = target.name
    if len(counts) < 2:
        only = f"only {counts.index[0]!r}" if len(counts) else "none"
        message = f"the target {name!r} needs at least two classes, and has {only}"
        yield pandera.Check(lambda values: values.nunique() >= 2, error=message)
    elif len(counts) > MAX_CLASSES or (len(counts) > MAX_NUMERIC_CLASSES and has_fractions(target)):
        is_number = share_of_numbers(target) == 1
        remedy = "for a number to predict --task regression" if is_number else "join classes, or remove rare ones"
        message = (
            f"the target {name!r} has {len(counts)} different values, and at most {MAX_CLASSES} classes are possible, "
            f"{MAX_NUMERIC_CLASSES} if they are numbers with fractions: {remedy}"
        )
        yield pandera.Check(lambda values: values.nunique() <= MAX_NUMERIC_CLASSES, error=message)
    else:
        rare = counts[counts < rows_needed]
        shown = listed([f"{label!r} has {count}" for label, count in rare.items()])
        remedy = "join them with other classes, or remove these rows"
        if len(rare) and rare.min() >= fewest_rows:
            remedy = "use fewer --folds, or remove these rows"
        message = f"each class of {name!r} needs {rows_needed} rows; {shown}: {remedy}"
        yield pandera.Check(lambda values: bool((values.value_counts() >= rows_needed).all()), error=message)


def config_problem(config: EstimatorConfig, target: pd.Series) -> str | None:
    """Estimators, criteria and losses for numbers are refused."""
    classes = f"{target.name!r} has classes"
    advice = f"{classes}: leave it out, or predict a number with --task regression"
    criterion = config.hyperparameters.get("criterion")
    if config.estimator not in estimators:
        others = f"use {', '.join(estimators)}, or --task regression"
        return f"--estimator {config.estimator} predicts a number; {classes}: {others}"
    if criterion is not None and criterion not in CRITERIA["classification"]:
        return f"--criterion {criterion} is for numbers; {advice}"
    return f"--loss is for numbers; {advice}" if "loss" in config.hyperparameters else None


def metric_problem(metric: str, target: pd.Series) -> str | None:
    """Metrics of numbers are refused."""
    if metric in metrics.comparable:
        return None
    return f"--metric {metric} is for numbers, and {target.name!r} has classes: use {', '.join(metrics.comparable)}"


def rows_needed(estimator: str, folds: int, test_size: float) -> int:
    """How many rows each class needs, so that each fold and the held-out rows get one of them."""
    if estimator == "hist-gradient-boosting":
        folds = max(folds, BOOSTING_FOLDS)
    return max(int(np.ceil(folds / (1 - test_size))), int(np.ceil(1 / test_size)))


def model_task(target: pd.Series) -> Classification:
    """The classes by name. scikit-learn gives the probabilities in the same order."""
    classes = tuple(map(str, sorted(target.unique().tolist())))
    label_type: LabelType = "text"
    if is_bool_dtype(target.dtype):
        label_type = "boolean"
    elif is_numeric_dtype(target.dtype) or (target.dtype == object and all(map(FRACTION.fullmatch, classes))):
        label_type = "number"
    return Classification(classes=classes, label_type=label_type)


def decision_problem(options: DecisionOptions, task: Classification) -> str | None:
    """A threshold is for two classes, and the positive one must be among them."""
    if options.threshold is None:
        return None
    if len(task.classes) != 2:
        return f"--threshold is for two classes, and there are {len(task.classes)}: leave it out"
    if options.positive not in (None, *task.classes):
        return f"--positive: there is no class {options.positive!r}; there are {' and '.join(task.classes)}"
    return None


def calibrated(
    task: Classification,
    _training: pd.Series,
    measured: pd.Series,
    outputs: Matrix,
    options: DecisionOptions,
    _loss: str | None = None,
) -> Classification:
    """The decision threshold; and prediction sets with every class that is at least as probable as the true one was in
    the share `coverage` of the rows (Sadinle, Lei and Wasserman 2019, "Least ambiguous set-valued classifiers").

    Raises:
        DataError: there are too few rows for the coverage.
    """
    truth = true_values(measured, task)
    least = -conformal_quantile(-outputs[np.arange(len(outputs)), truth], options.coverage)
    found: dict[str, object] = {"coverage": options.coverage, "least_probability": min(max(least, 0.0), 1.0)}
    if options.threshold is not None:
        positive = options.positive or task.classes[1]
        threshold = options.threshold
        if isinstance(threshold, str):
            number = task.classes.index(positive)
            threshold = best_threshold(threshold, truth == number, outputs[:, number])
        found |= {"threshold": threshold, "positive": positive}
    return Classification(**task.model_dump() | found)


def dataset_facts(task: Classification) -> dict[str, int]:
    return {"classes": len(task.classes)}


# -- rows


def strata(target: pd.Series) -> pd.Series:
    """A split keeps the share of each class."""
    return target


def fold_rows(target: pd.Series, folds: int, seed: int) -> list[tuple[RowNumbers, RowNumbers]]:
    """Stratified folds: each has its share of every class.

    Raises:
        DataError: a class has fewer rows than there are folds.
    """
    rarest = int(target.value_counts().min())
    if rarest < folds:
        raise DataError(f"{folds} folds need {folds} rows of every class, and the rarest has {rarest}: use fewer folds")
    return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(np.zeros(len(target)), target))


def resample_groups(truth: NDArray[np.intp]) -> Sequence[RowNumbers]:
    """The rows of each class."""
    return [np.flatnonzero(truth == number) for number in np.unique(truth)]


# -- a model


def score_link(_estimator: object) -> Link:
    return "softmax"


def scores(task: Classification) -> int:
    """One per class; of two classes, one for the second."""
    return len(task.classes) if len(task.classes) > 2 else 1


def outputs(pipeline: Pipeline, features: pd.DataFrame) -> Matrix:
    """The probability of each class: shape (rows, classes)."""
    return np.asarray(pipeline.predict_proba(features), dtype=np.float64)


def true_values(target: pd.Series, task: Classification) -> NDArray[np.intp]:
    """The number of the true class of each row. To compare texts takes ten times as long."""
    classes = task.labels if is_numeric_dtype(target.dtype) else task.classes
    return pd.Index(list(classes)).get_indexer(pd.Index(target))


def metric_value(metric: str, truth: NDArray[np.intp], probabilities: Matrix, task: Classification) -> float:
    """A metric of probabilities of shape (rows, classes), for true classes of shape (rows,).

    Log loss is in nats. The Brier score is the mean over rows of the squared differences, summed over classes (Brier
    1950): from 0 to 2. ROC AUC is the macro average of one class against the rest; with two classes, that of the
    second. The precision of a class that is never predicted counts as 0.
    """
    predicted, labels = task.predictions(probabilities), range(probabilities.shape[1])
    match metric.split("_"):
        case ["accuracy"]:
            value = accuracy_score(truth, predicted)
        case ["balanced", "accuracy"]:
            value = balanced_accuracy_score(truth, predicted)
        case ["roc", "auc", "ovr"] if len(labels) == 2:
            value = roc_auc_score(truth, probabilities[:, 1])
        case ["roc", "auc", "ovr"]:
            value = roc_auc_score(truth, probabilities, multi_class="ovr", labels=labels)
        case ["log", "loss"]:
            value = log_loss(truth, probabilities, labels=labels)
        case ["brier", "score"]:
            value = brier_score_loss(truth, probabilities, labels=labels, scale_by_half=False)
        case [kind, average]:
            value = {"precision": precision_score, "recall": recall_score, "f1": f1_score}[kind](
                truth, predicted, average=average, zero_division=0
            )
    return float(value)


def prediction_score(target: pd.Series, predictions: NDArray[Any]) -> float:
    """The accuracy."""
    return float(accuracy_score(target, predictions))


def changed_predictions(expected: Matrix, actual: Matrix, task: Classification) -> int:
    """For how many rows another class is predicted."""
    return int((task.predictions(expected) != task.predictions(actual)).sum())


def results(truth: NDArray[np.intp], probabilities: Matrix, task: Classification) -> ClassResults:
    return class_results(truth, probabilities, task)


# -- leakage


def leakage_sample(dataset: Dataset, seed: int) -> Dataset | None:
    """At most `LEAKAGE_ROWS` rows, of the classes that have enough of them for the folds; None if fewer than two have.

    A common class gets no more rows than its part, so that rare classes keep theirs.
    """
    order = np.random.default_rng(seed).permutation(len(dataset))
    target = dataset.target.iloc[order]
    chosen = target.groupby(target).cumcount() < LEAKAGE_ROWS // target.nunique()
    chosen &= target.map(target.value_counts()) >= LEAKAGE_FOLDS
    sample = dataset.part(np.sort(order[chosen.to_numpy()]))
    return sample if sample.target.nunique() > 1 else None


def leakage_score(column: pd.DataFrame, target: pd.Series, seed: int) -> float:
    """The balanced accuracy of a decision tree that sees this column only, by cross-validation."""
    folds = StratifiedKFold(LEAKAGE_FOLDS, shuffle=True, random_state=seed)
    predicted = cross_val_predict(DecisionTreeClassifier(random_state=seed), column, target, cv=folds)
    return float(balanced_accuracy_score(target, predicted))
