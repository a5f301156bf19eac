"""Fit and cross-validate, by all cores. Gives results back; touches no disk, no MLflow and no figure."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.class_weight import compute_sample_weight

from tabserve.errors import DataError
from tabserve.model.arrays import Matrix
from tabserve.model.schema import Category, Feature, Number, Schema
from tabserve.model.task import Classification
from tabserve.training.config import EstimatorConfig
from tabserve.training.dataset import Table
from tabserve.training.estimators import cores_for, estimator, is_forest, preprocessing, probabilities_of
from tabserve.training.evaluation import METRICS, Evaluation, ReportProgress, score

LEAK, LEAK_ROWS, LEAK_FOLDS = 0.99, 10_000, 3
"""From which accuracy on a column alone is suspected of knowing the class, of how many rows at the most, in how many
folds."""

SMALL = 2000
"""Rows below which one thread is faster than two: of so few, fitting is Python more than anything else (measured on two
cores: 150 rows take 1.4 times as long by both, 1,000 as long, 4,000 two thirds)."""

PARTS, LARGE = 20, 20_000
"""In how many parts a forest is fitted, so that its progress can be told, if there are more rows than this: each part
begins by looking through the rows, and ends with the slowest tree, so none has fewer trees than there are threads."""


@dataclass(frozen=True)
class CrossValidation:
    """Metrics of every fold, and the probability of each training row from the model that hadn't seen it.

    Attributes:
        folds: metric → one value a fold.
        probabilities: shape (training rows, classes).
    """

    folds: Mapping[str, list[float]]
    probabilities: Matrix

    def mean(self, metric: str) -> float:
        return float(np.mean(self.folds[metric]))

    def deviation(self, metric: str) -> float:
        """The sample standard deviation over the folds."""
        return float(np.std(self.folds[metric], ddof=1))

    def summary(self) -> dict[str, float]:
        """Mean and deviation of every metric, as `cv_…_mean` and `cv_…_std`."""
        found: dict[str, float] = {}
        for name in self.folds:
            found |= {f"cv_{name}_mean": self.mean(name), f"cv_{name}_std": self.deviation(name)}
        return found


def fit(
    table: Table, recipe: EstimatorConfig, seed: int, tell: ReportProgress = lambda _: None, threads: int | None = None
) -> Pipeline:
    """Preprocessing and classifier in one pipeline; the same table, recipe and seed give the same, by however many
    `threads` (default: one a core, unless the table is small)."""
    pipeline = Pipeline([preprocessing(table), ("classifier", estimator(recipe, seed))])
    columns = pipeline[:-1].fit_transform(table.features)
    classifier = pipeline[-1]
    if is_forest(classifier):
        classifier.set_params(n_jobs=threads or _cores(table, classifier))
        _grow(classifier, columns, table.target, tell)
        classifier.set_params(n_jobs=1)  # several threads add the trees up in any order, and so round in any
    else:
        classifier.fit(columns, table.target)
        tell(1)
    return pipeline


def _cores(table: Table, classifier: Any) -> int:
    """How many threads are worth using."""
    return 1 if len(table) < SMALL else cores_for(classifier)


def _grow(forest: Any, columns: Any, target: pd.Series, tell: ReportProgress) -> None:
    """Fits a forest; one of many rows in parts, which come to the same trees."""
    trees = forest.n_estimators
    # what scikit-learn itself makes of weights by class, of which it warns in parts: they could be of other rows
    weighted = forest.class_weight
    weights = compute_sample_weight(weighted, target) if weighted else None
    parts = max(1, min(PARTS, trees // forest.n_jobs)) if len(target) > LARGE else 1
    forest.set_params(warm_start=parts > 1, class_weight=None)
    for number in (trees * part // parts for part in range(1, parts + 1)):
        forest.set_params(n_estimators=number).fit(columns, target, weights)
        tell(number / trees)
    forest.set_params(warm_start=False, class_weight=weighted)


def leaks(table: Table, seed: int) -> dict[str, float]:
    """The features of which each alone tells the class nearly always, with the balanced accuracy of a tree that sees
    nothing else, cross-validated: such a column often says what became known only with the class, or is made of it."""
    order = np.random.default_rng(seed).permutation(len(table))
    target = table.target.iloc[order]
    # of the common classes no more than their share, so that the rare ones keep their rows
    chosen = target.groupby(target).cumcount() < LEAK_ROWS // len(table.classes)
    chosen &= target.map(target.value_counts()) >= LEAK_FOLDS
    sample = table.part(np.sort(order[chosen.to_numpy()]))
    if len(sample.classes) < 2:
        return {}
    splitter = StratifiedKFold(LEAK_FOLDS, shuffle=True, random_state=seed)
    found = {}
    for name, column in sample.features.items():
        numbers = column if is_numeric_dtype(column.dtype) else pd.Series(pd.factorize(column)[0], index=column.index)
        tree = DecisionTreeClassifier(random_state=seed)
        guessed = cross_val_predict(tree, numbers.to_frame(), sample.target, cv=splitter)
        accuracy = float(balanced_accuracy_score(sample.target, guessed))
        if accuracy >= LEAK:
            found[str(name)] = accuracy
    return found


def cross_validate(
    table: Table, recipe: EstimatorConfig, folds: int, seed: int, tell: ReportProgress = lambda _: None
) -> CrossValidation:
    """Stratified k-fold on the training rows; preprocessing and classifier are fitted inside each fold.

    Raises:
        DataError: a class has fewer rows than there are folds.
    """
    rarest = int(table.target.value_counts().min())
    if rarest < folds:
        raise DataError(f"{folds} folds need {folds} rows of every class, and the rarest has {rarest}: use fewer folds")
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    cores = _cores(table, estimator(recipe, seed))
    at_once = min(folds, cores)
    progress = Progress(folds, tell)

    def validated(fold: int, inside: NDArray[np.intp], outside: NDArray[np.intp]) -> Matrix:
        fitted = fit(table.part(inside), recipe, seed, partial(progress, fold), -(-cores // at_once))
        return probabilities_of(fitted, table.features.iloc[outside], threads=1)

    splits = list(splitter.split(table.features, table.target))
    # threads, for what takes long gives up Python's lock, and processes would each need the rows
    found = joblib.Parallel(at_once, prefer="threads")(
        joblib.delayed(validated)(fold, *split) for fold, split in enumerate(splits)
    )
    values: dict[str, list[float]] = {metric: [] for metric in METRICS}
    probabilities = np.empty((len(table), len(table.classes)))
    for (_, outside), shares in zip(splits, found, strict=True):
        probabilities[outside] = shares
        for metric, value in score(table.target.iloc[outside], shares, table.classes).items():
            values[metric].append(value)
    return CrossValidation(values, probabilities)


class Progress:
    """How far several pieces of work are, told as one share."""

    def __init__(self, pieces: int, tell: ReportProgress) -> None:
        self._shares, self._tell, self._lock = [0.0] * pieces, tell, threading.Lock()

    def __call__(self, piece: int, share: float) -> None:
        with self._lock:
            self._shares[piece] = share
            self._tell(sum(self._shares) / len(self._shares))


def named_metrics(validation: CrossValidation, evaluation: Evaluation) -> dict[str, float]:
    """All numbers of a training under flat names: `test_` of the held-out rows, by class too; `cv_…_mean` and `_std`
    over the folds; `importance_` by kind and feature."""
    values = {f"test_{name}": value for name, value in evaluation.metrics.items()}
    for label, of_class in evaluation.by_class.items():
        values |= {f"test_{name}_{label}": estimate.value for name, estimate in of_class.estimates.items()}
    values |= validation.summary()
    for kind in (evaluation.importance_kind, "permutation"):
        by_feature = zip(evaluation.importances.feature, evaluation.importances[kind], strict=True)
        values |= {f"importance_{kind}_{feature}": float(value) for feature, value in by_feature}
    return values


def infer_schema(pipeline: Pipeline, training: Table) -> Schema:
    """The schema that the fitted pipeline implies: ranges and categories of the training rows, classes in the model's
    order.

    `lowest` and `highest` leave a factor of two to the point where the scaled value would overflow float32, in which
    the trees compare.
    """
    return Schema(
        target=str(training.target.name),
        features=tuple(
            _feature(column, training.missing.get(str(name), 0)) for name, column in training.features.items()
        ),
        task=Classification(classes=tuple(str(name) for name in pipeline.classes_)),
    )


def _feature(column: pd.Series, missing: int) -> Feature:
    name = str(column.name)
    if not is_numeric_dtype(column.dtype):
        counts = column.value_counts().sort_index()
        return Category(
            name=name, missing=missing, categories=tuple(map(str, counts.index)), counts=tuple(map(int, counts))
        )
    largest = float(np.finfo(np.float32).max) / 2
    present = column.dropna()
    # as the scaler sees it: the middle one stands where it is missing, and what never varies has a scale of 1
    filled = column.fillna(present.median())
    mean, scale = float(filled.mean()), float(filled.std(ddof=0)) or 1.0
    return Number(
        name=name,
        missing=missing,
        minimum=float(present.min()),
        maximum=float(present.max()),
        mean=float(present.mean()),
        lowest=max(-largest, mean - largest * scale),
        highest=min(largest, mean + largest * scale),
    )
