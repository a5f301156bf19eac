"""How good a model is: metrics of probabilities, of one model or of two on the same rows. Touches no disk."""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn import config_context
from sklearn.inspection import permutation_importance
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)
from sklearn.pipeline import Pipeline

from tabserve.model.arrays import Matrix
from tabserve.training.dataset import Table
from tabserve.training.estimators import cores_for, own_importances, probabilities_of, sources

METRICS = (
    "accuracy",
    "balanced_accuracy",
    "precision_macro",
    "recall_macro",
    "f1_macro",
    "precision_weighted",
    "recall_weighted",
    "f1_weighted",
    "roc_auc_ovr",
    "log_loss",
    "brier_score",
)
"""The metrics of a whole model, by name."""

RESAMPLES, RESAMPLED = 1000, 10**7
"""Of the bootstrap, as long as they are of fewer rows in all than the latter; never less than a tenth of the former."""

PERMUTED_ROWS, PERMUTATIONS = 10_000, 10
"""Of how many rows, at the most, a feature is shuffled to see what it matters, and how often."""

LOWER_IS_BETTER = frozenset({"log_loss", "brier_score"})

ReportProgress = Callable[[float], None]
"""Is told now and then which share of the work is done, from any thread."""


@dataclass(frozen=True)
class Estimate:
    """A metric from 0 to 1 on the rows at hand, and a 95 % confidence interval of what it is on all such rows."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class OfClass:
    """What the model does with one class.

    Attributes:
        precision: of the rows that were called so, the share that are.
        recall: of the rows that are, the share that were called so.
        f1: the harmonic mean of both.
        rows: how many are.
    """

    precision: Estimate
    recall: Estimate
    f1: Estimate
    rows: int

    @property
    def estimates(self) -> Mapping[str, Estimate]:
        return {"precision": self.precision, "recall": self.recall, "f1": self.f1}


@dataclass(frozen=True)
class Evaluation:
    """What the model does on rows it was not trained on.

    Attributes:
        metrics: the metrics of the whole model, by the names in `METRICS`.
        by_class: class → what the model does with it.
        confusion: shape (classes, classes); row: the true class, column: the predicted one.
        probabilities: shape (held-out rows, classes).
        importances: a row a feature: what the model itself says (`importance_kind`, sums to 1, or 0) and `permutation`
            (mean loss of accuracy on the held-out rows when the column is shuffled) with their deviations.
    """

    metrics: Mapping[str, float]
    by_class: Mapping[str, OfClass]
    confusion: NDArray[np.int64]
    probabilities: Matrix
    importances: pd.DataFrame = field(repr=False)

    @property
    def importance_kind(self) -> str:
        """`impurity`, `gain` or `coefficient`."""
        return str(self.importances.columns[1])


def score(truth: pd.Series, probabilities: Matrix, classes: list[str]) -> dict[str, float]:
    """The metrics in `METRICS` of probabilities of shape (rows, classes) for the true classes of shape (rows,).

    Log loss is in nats; the Brier score is the mean over rows of the summed squared differences over classes (Brier
    1950), from 0 to 2; ROC AUC is one-vs-rest, macro. Precision of a class never predicted counts as 0.
    """
    numbers = _numbered(truth, classes)
    return {metric: _score(metric, numbers, probabilities) for metric in METRICS}


def _numbered(truth: pd.Series, classes: list[str]) -> NDArray[np.int64]:
    """The true classes by their places: shape (rows,). To compare texts takes ten times as long."""
    return pd.Index(classes).get_indexer(pd.Index(truth))


def _score(metric: str, truth: NDArray[np.int64], probabilities: Matrix) -> float:
    predicted, labels = probabilities.argmax(axis=1), range(probabilities.shape[1])
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


@dataclass(frozen=True)
class Comparison:
    """Two models on the same rows: the metric of each, and a 95 % interval of the first's less the second's."""

    metric: str
    ours: float
    theirs: float
    low: float
    high: float


def compare(
    metric: str,
    truth: pd.Series,
    ours: Matrix,
    theirs: Matrix,
    classes: list[str],
    seed: int,
    tell: ReportProgress = lambda _: None,
) -> Comparison:
    """Compares the probabilities of two models, of shape (rows, classes) each, for the same rows.

    The interval is the percentile bootstrap's: both models are scored on the same samples of the rows, drawn with
    replacement within each class, so that none is without rows (Efron and Tibshirani 1993, chapters 8, 13).
    """
    rng = np.random.default_rng(seed)
    labels = _numbered(truth, classes)
    rows = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    differences = []
    resamples = max(RESAMPLES // 10, min(RESAMPLES, RESAMPLED // len(labels)))
    with config_context(skip_parameter_validation=True, assume_finite=True):
        for number in range(resamples):
            drawn = np.concatenate([rng.choice(own, len(own)) for own in rows])
            one, other = (_score(metric, labels[drawn], shares[drawn]) for shares in (ours, theirs))
            differences.append(one - other)
            tell((number + 1) / resamples)
    low, high = np.quantile(differences, [0.025, 0.975])
    one, other = (_score(metric, labels, shares) for shares in (ours, theirs))
    return Comparison(metric, one, other, float(low), float(high))


def is_better(metric: str, candidate: float, champion: float) -> bool:
    """Whether the candidate beats the champion; a draw leaves the champion in place. No number is worse than any."""
    if math.isnan(candidate) or math.isnan(champion):
        return not math.isnan(candidate)
    return candidate < champion if metric in LOWER_IS_BETTER else candidate > champion


def evaluate(pipeline: Pipeline, held_out: Table, seed: int, tell: ReportProgress = lambda _: None) -> Evaluation:
    """Every metric of the fitted pipeline on rows it hasn't seen, with both kinds of feature importance."""
    classes = [str(name) for name in pipeline.classes_]
    probabilities = probabilities_of(pipeline, held_out.features)
    predicted = np.array(classes)[probabilities.argmax(axis=1)]
    confusion = confusion_matrix(held_out.target, predicted, labels=classes)
    return Evaluation(
        metrics=score(held_out.target, probabilities, classes),
        by_class=dict(zip(classes, of_classes(confusion), strict=True)),
        confusion=confusion,
        probabilities=probabilities,
        importances=_importances(pipeline, held_out, seed, tell),
    )


def of_classes(confusion: NDArray[np.int64]) -> list[OfClass]:
    """What a confusion matrix, of shape (classes, classes), says of each class.

    The intervals of precision and recall are Wilson's (1927), which don't shrink to nothing where all was right. F1 is
    2 s / (1 + s), s being the share of the rows that were called so or are that were called so rightly, so its
    interval is made of that of s (Lam, Gopal and Qian 2023, "Wilson indirect").
    """
    found = []
    for right, called, true in zip(np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1), strict=True):
        both = _proportion(right, called + true - right)
        f1 = Estimate(*(2 * share / (1 + share) for share in (both.value, both.low, both.high)))
        found.append(OfClass(_proportion(right, called), _proportion(right, true), f1, int(true)))
    return found


def _proportion(hits: int, of: int) -> Estimate:
    """A share, with its 95 % interval; of nothing, 0 and any."""
    if not of:
        return Estimate(0.0, 0.0, 1.0)
    interval = binomtest(int(hits), int(of)).proportion_ci(method="wilson")
    return Estimate(float(hits / of), float(interval.low), float(interval.high))


def _importances(pipeline: Pipeline, held_out: Table, seed: int, tell: ReportProgress) -> pd.DataFrame:
    sample = held_out.part(np.sort(np.random.default_rng(seed).permutation(len(held_out))[:PERMUTED_ROWS]))
    scored = itertools.count(1)

    def accuracy(model: Pipeline, features: pd.DataFrame, target: pd.Series) -> float:
        value = float(accuracy_score(target, model.predict(features)))
        tell(next(scored) / (PERMUTATIONS * features.shape[1] + 1))
        return value

    # several threads where there is enough to do, and the same numbers by however many
    jobs = cores_for(pipeline[-1]) if len(sample) == PERMUTED_ROWS else 1
    with joblib.parallel_config("threading"):
        permuted = permutation_importance(
            pipeline, sample.features, sample.target, scoring=accuracy, n_repeats=PERMUTATIONS, random_state=seed,
            n_jobs=jobs,
        )  # fmt: skip
    kind, of_columns = own_importances(pipeline[-1])
    places, names = sources(pipeline), held_out.features.columns
    by_feature = np.stack([of_columns[:, places == at].sum(axis=1) for at in range(len(names))], axis=1)
    return pd.DataFrame(
        {
            "feature": names,
            kind: by_feature.mean(axis=0),
            f"{kind}_std": by_feature.std(axis=0),
            "permutation": permuted.importances_mean,
            "permutation_std": permuted.importances_std,
        }
    ).sort_values(kind, ascending=False, ignore_index=True)
