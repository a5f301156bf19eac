"""Scale, fit, cross-validate, evaluate. Gives results back; touches no disk, no MLflow and no figure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from sklearn import config_context
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
    precision_score,
    recall_score,
    roc_auc_score,
)
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from classifier.data import Table
from classifier.errors import DataError
from classifier.recipe import HYPERPARAMETERS, Recipe
from classifier.schema import Category, Feature, Matrix, Number, Schema

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

RESAMPLES = 1000
"""Of the bootstrap; an interval takes half a second to three."""

LEAK, LEAK_ROWS = 0.99, 10_000
"""From which accuracy on a column alone is suspected of knowing the class, and of how many rows at the most."""

RARE = 0.01
"""A category with a smaller share of the rows is a rare one."""

LOWER_IS_BETTER = frozenset({"log_loss", "brier_score"})


ESTIMATORS: Mapping[str, type[Any]] = {
    "random-forest": RandomForestClassifier,
    "extra-trees": ExtraTreesClassifier,
    "hist-gradient-boosting": HistGradientBoostingClassifier,
    "logistic-regression": LogisticRegression,
}

OWN_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"logistic-regression": {"max_iter": 1000}}
"""Where scikit-learn's don't do: its 100 steps often don't lead to the end."""


def estimator(recipe: Recipe, seed: int) -> Any:
    """What the recipe says, not fitted. In one thread: for small tables starting more costs more than they save."""
    made = ESTIMATORS[recipe.estimator](**{**OWN_DEFAULTS.get(recipe.estimator, {}), **recipe.given}, random_state=seed)
    return made.set_params(n_jobs=1) if recipe.estimator in ("random-forest", "extra-trees") else made


def parameters(recipe: Recipe) -> dict[str, Any]:
    """All hyperparameters that can be chosen, with their values."""
    values = estimator(recipe, 0).get_params()
    return {name: values[name] for name in HYPERPARAMETERS[recipe.estimator]}


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


@dataclass(frozen=True)
class Evaluation:
    """What the model does on rows it was not trained on.

    Attributes:
        metrics: the metrics of the whole model, by the names in `METRICS`.
        per_class: class → precision, recall, f1, support.
        confusion: shape (classes, classes); row: the true class, column: the predicted one.
        probabilities: shape (held-out rows, classes).
        importances: a row a feature: what the model itself says (`importance_kind`, sums to 1) and `permutation` (mean
            loss of accuracy on the held-out rows when the column is shuffled) with their deviations.
    """

    metrics: Mapping[str, float]
    per_class: Mapping[str, Mapping[str, float]]
    confusion: NDArray[np.int64]
    probabilities: Matrix
    importances: pd.DataFrame = field(repr=False)

    @property
    def importance_kind(self) -> str:
        """`impurity`, `gain` or `coefficient`."""
        return str(self.importances.columns[1])


def fit(table: Table, recipe: Recipe, seed: int) -> Pipeline:
    """Preprocessing and classifier in one pipeline; the same table, recipe and seed give the same."""
    steps = [preprocessing(table), ("classifier", estimator(recipe, seed))]
    return Pipeline(steps).fit(table.features, table.target)


def leaks(table: Table, seed: int) -> dict[str, float]:
    """The features of which each alone tells the class nearly always, with the balanced accuracy of a tree that sees
    nothing else, cross-validated: such a column often says what became known only with the class, or is made of it."""
    rows = np.random.default_rng(seed).permutation(len(table))[:LEAK_ROWS]
    sample = table.part(np.sort(rows))
    splitter = StratifiedKFold(3, shuffle=True, random_state=seed)
    found = {}
    for name, column in sample.features.items():
        numbers = column if is_numeric_dtype(column.dtype) else pd.Series(pd.factorize(column)[0], index=column.index)
        tree = DecisionTreeClassifier(random_state=seed)
        guessed = cross_val_predict(tree, numbers.to_frame(), sample.target, cv=splitter)
        accuracy = float(balanced_accuracy_score(sample.target, guessed))
        if accuracy >= LEAK:
            found[str(name)] = accuracy
    return found


def preprocessing(table: Table) -> tuple[str, StandardScaler | ColumnTransformer]:
    """The first step of the pipeline and its name: for numbers of which none is missing a StandardScaler; else medians
    for missing numbers, which are scaled, and a column for each category, in which those that less than `RARE` of the
    rows have share one with those never seen."""
    features = table.features
    numbers = [name for name, kind in features.dtypes.items() if is_numeric_dtype(kind)]
    categories = [name for name in features.columns if name not in numbers]
    if not categories and not table.missing:
        return "scaler", StandardScaler()
    parts: list[tuple[str, Any, list[Any]]] = []
    if numbers:
        steps = [("imputer", SimpleImputer(strategy="median", keep_empty_features=True)), ("scaler", StandardScaler())]
        parts.append(("numbers", Pipeline(steps), numbers))
    if categories:
        encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=RARE, sparse_output=False)
        parts.append(("categories", encoder, categories))
    return "preprocessor", ColumnTransformer(parts, verbose_feature_names_out=False)


def fitted(pipeline: Pipeline) -> str:
    """What was fitted, in words."""
    classifier = pipeline[-1]
    if isinstance(classifier, LogisticRegression):
        return f"a regression in {int(classifier.n_iter_.max())} steps"
    if isinstance(classifier, HistGradientBoostingClassifier):
        return f"{classifier.n_iter_ * classifier.n_trees_per_iteration_} trees"
    return f"{len(classifier.estimators_)} trees"


def model_type(pipeline: Pipeline) -> str:
    """What the pipeline is made of, by scikit-learn's names."""
    first = pipeline[0]
    if isinstance(first, StandardScaler):
        made: list[Any] = [first]
    else:
        made = [
            step
            for part in first.named_transformers_.values()
            for step in getattr(part, "named_steps", {"": part}).values()
        ]
    return " + ".join(type(step).__name__ for step in (*made, pipeline[-1]))


def sources(pipeline: Pipeline) -> NDArray[np.intp]:
    """Of each column that the first step makes, the place of the feature it was made from: shape (columns,)."""
    first = pipeline[0]
    names = list(pipeline.feature_names_in_)
    if isinstance(first, StandardScaler):
        return np.arange(len(names))
    places: list[int] = []
    for part in first.named_transformers_.values():
        widths = column_widths(part) if isinstance(part, OneHotEncoder) else [1] * len(part.feature_names_in_)
        for name, width in zip(part.feature_names_in_, widths, strict=True):
            places += [names.index(name)] * width
    return np.array(places)


def column_widths(encoder: OneHotEncoder) -> list[int]:
    """How many columns the encoder makes of each feature: one a category, but one for all that are rare."""
    pairs = zip(encoder.categories_, encoder.infrequent_categories_, strict=True)
    return [len(categories) - (0 if rare is None else len(rare) - 1) for categories, rare in pairs]


def cross_validate(table: Table, recipe: Recipe, folds: int, seed: int) -> CrossValidation:
    """Stratified k-fold on the training rows; preprocessing and classifier are fitted inside each fold.

    Raises:
        DataError: a class has fewer rows than there are folds.
    """
    rarest = int(table.target.value_counts().min())
    if rarest < folds:
        raise DataError(f"{folds} folds need {folds} rows of every class, and the rarest has {rarest}: use fewer folds")
    values: dict[str, list[float]] = {metric: [] for metric in METRICS}
    probabilities = np.empty((len(table), len(table.classes)))
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for inside, outside in splitter.split(table.features, table.target):
        part = table.part(inside)
        probabilities[outside] = fit(part, recipe, seed).predict_proba(table.features.iloc[outside])
        for metric, value in score(table.target.iloc[outside], probabilities[outside], table.classes).items():
            values[metric].append(value)
    return CrossValidation(values, probabilities)


def score(truth: pd.Series, probabilities: Matrix, classes: list[str]) -> dict[str, float]:
    """The metrics in `METRICS` of probabilities of shape (rows, classes) for the true classes of shape (rows,).

    Log loss is in nats; the Brier score is the mean over rows of the summed squared differences over classes (Brier
    1950), from 0 to 2; ROC AUC is one-vs-rest, macro. Precision of a class never predicted counts as 0.
    """
    return {metric: _score(metric, truth, probabilities, classes) for metric in METRICS}


def _score(metric: str, truth: pd.Series, probabilities: Matrix, classes: list[str]) -> float:
    predicted = np.array(classes)[probabilities.argmax(axis=1)]
    match metric.split("_"):
        case ["accuracy"]:
            value = accuracy_score(truth, predicted)
        case ["balanced", "accuracy"]:
            value = balanced_accuracy_score(truth, predicted)
        case ["roc", "auc", "ovr"]:
            value = _roc_auc(truth, probabilities, classes)
        case ["log", "loss"]:
            value = log_loss(truth, probabilities, labels=classes)
        case ["brier", "score"]:
            value = brier_score_loss(truth, probabilities, labels=classes, scale_by_half=False)
        case [kind, average]:
            value = {"precision": precision_score, "recall": recall_score, "f1": f1_score}[kind](
                truth, predicted, average=average, zero_division=0
            )
    return float(value)


def _roc_auc(truth: pd.Series, probabilities: Matrix, classes: list[str]) -> float:
    if len(classes) == 2:
        return float(roc_auc_score(truth == classes[1], probabilities[:, 1]))
    return float(roc_auc_score(truth, probabilities, multi_class="ovr", labels=classes))


def named_metrics(validation: CrossValidation, evaluation: Evaluation) -> dict[str, float]:
    """All numbers of a training under flat names: `test_` of the held-out rows, by class too; `cv_…_mean` and `_std`
    over the folds; `importance_` by kind and feature."""
    values = {f"test_{name}": value for name, value in evaluation.metrics.items()}
    for label, row in evaluation.per_class.items():
        values |= {f"test_{name}_{label}": row[name] for name in ("precision", "recall", "f1")}
    for name in validation.folds:
        values |= {f"cv_{name}_mean": validation.mean(name), f"cv_{name}_std": validation.deviation(name)}
    for kind in (evaluation.importance_kind, "permutation"):
        by_feature = zip(evaluation.importances.feature, evaluation.importances[kind], strict=True)
        values |= {f"importance_{kind}_{feature}": float(value) for feature, value in by_feature}
    return values


@dataclass(frozen=True)
class Comparison:
    """Two models on the same rows: the metric of each, and a 95 % interval of the first's less the second's."""

    metric: str
    ours: float
    theirs: float
    low: float
    high: float


def compare(metric: str, truth: pd.Series, ours: Matrix, theirs: Matrix, classes: list[str], seed: int) -> Comparison:
    """Compares the probabilities of two models, of shape (rows, classes) each, for the same rows.

    The interval is the percentile bootstrap's: both models are scored on the same `RESAMPLES` samples of the rows,
    drawn with replacement within each class, so that none is without rows (Efron and Tibshirani 1993, chapters 8, 13).
    """
    rng = np.random.default_rng(seed)
    labels = truth.to_numpy()
    rows = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    differences = []
    with config_context(skip_parameter_validation=True, assume_finite=True):
        for _ in range(RESAMPLES):
            drawn = np.concatenate([rng.choice(own, len(own)) for own in rows])
            one, other = (_score(metric, truth.iloc[drawn], shares[drawn], classes) for shares in (ours, theirs))
            differences.append(one - other)
    low, high = np.quantile(differences, [0.025, 0.975])
    one, other = (_score(metric, truth, shares, classes) for shares in (ours, theirs))
    return Comparison(metric, one, other, float(low), float(high))


def is_better(metric: str, candidate: float, champion: float) -> bool:
    """Whether the candidate beats the champion; a draw leaves the champion in place."""
    if math.isnan(candidate):
        return False
    return candidate < champion if metric in LOWER_IS_BETTER else candidate > champion


def evaluate(pipeline: Pipeline, held_out: Table, seed: int) -> Evaluation:
    """Every metric of the fitted pipeline on rows it hasn't seen, with both kinds of feature importance."""
    classes = [str(name) for name in pipeline.classes_]
    probabilities = pipeline.predict_proba(held_out.features)
    predicted = np.array(classes)[probabilities.argmax(axis=1)]
    precision, recall, f1, support = precision_recall_fscore_support(
        held_out.target, predicted, labels=classes, zero_division=0
    )
    per_class = {
        name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
        for name, p, r, f, s in zip(classes, precision, recall, f1, support, strict=True)
    }
    return Evaluation(
        metrics=score(held_out.target, probabilities, classes),
        per_class=per_class,
        confusion=confusion_matrix(held_out.target, predicted, labels=classes),
        probabilities=probabilities,
        importances=_importances(pipeline, held_out, seed),
    )


def _importances(pipeline: Pipeline, held_out: Table, seed: int) -> pd.DataFrame:
    permuted = permutation_importance(
        pipeline, held_out.features, held_out.target, scoring="accuracy", n_repeats=10, random_state=seed
    )
    kind, of_columns = _own_importances(pipeline[-1])
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


def _own_importances(classifier: Any) -> tuple[str, Matrix]:
    """What a classifier itself says of its columns: what that is, and shares of shape (1 or trees, columns), each row
    of which sums to 1. Impurity is what each tree's splits took of it, gain what those of boosting took of loss, and
    coefficient its size, the columns being scaled."""
    if isinstance(classifier, LogisticRegression):
        sizes = np.abs(classifier.coef_).sum(axis=0, keepdims=True)
        return "coefficient", sizes / (sizes.sum() or 1.0)
    if isinstance(classifier, HistGradientBoostingClassifier):
        gains = np.zeros((1, classifier.n_features_in_))
        for round_ in classifier._predictors:  # noqa: SLF001 scikit-learn has no other door
            for predictor in round_:
                inner = predictor.nodes[predictor.nodes["is_leaf"] == 0]
                np.add.at(gains[0], inner["feature_idx"], inner["gain"])
        return "gain", gains / (gains.sum() or 1.0)
    return "impurity", np.array([tree.feature_importances_ for tree in classifier.estimators_])


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
        classes=tuple(str(name) for name in pipeline.classes_),
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
