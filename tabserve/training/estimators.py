"""What a recipe makes: scikit-learn's pipeline of preprocessing and estimator, and how its columns belong to features.

Fits nothing and measures nothing.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tabserve.model.arrays import Matrix
from tabserve.model.compiled import NODE
from tabserve.training.config import HYPERPARAMETERS, EstimatorConfig
from tabserve.training.dataset import Table

RARE = 0.01
"""A category with a smaller share of the rows is a rare one."""

TREES_BYTES = 100 * 10**6
"""What all trees of a compiled model may take, unless their leaves are limited by hand. A server holds two models
during a swap, and scikit-learn's own takes five times as much."""

PIECE = 10_000
"""Of how many rows at a time the probabilities are computed."""

ESTIMATORS: Mapping[str, type[Any]] = {
    "random-forest": RandomForestClassifier,
    "extra-trees": ExtraTreesClassifier,
    "hist-gradient-boosting": HistGradientBoostingClassifier,
    "logistic-regression": LogisticRegression,
}

OWN_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"logistic-regression": {"max_iter": 1000}}
"""Where scikit-learn's don't do: its 100 steps often don't lead to the end."""


def estimator(recipe: EstimatorConfig, seed: int) -> Any:
    """What the recipe says, not fitted."""
    return ESTIMATORS[recipe.estimator](**{**OWN_DEFAULTS.get(recipe.estimator, {}), **recipe.given}, random_state=seed)


def bounded(
    recipe: EstimatorConfig, rows: int, classes: int, by_hand: Collection[str] | None = None
) -> EstimatorConfig:
    """The recipe; if its trees could take more than `TREES_BYTES`, with a limit on the leaves of each, unless that was
    chosen `by_hand` (default: all that the recipe gives was). A tree has at most as many leaves as rows, two for each
    further level, and not twice as many nodes as leaves."""
    if recipe.estimator == "logistic-regression":
        return recipe
    if "max_leaf_nodes" in (recipe.given if by_hand is None else by_hand):
        return recipe
    chosen = estimator(recipe, 0)
    if recipe.estimator == "hist-gradient-boosting":
        trees = chosen.max_iter * (classes if classes > 2 else 1)
    else:
        trees = chosen.n_estimators
    most = max(2, TREES_BYTES // ((2 * NODE.itemsize + 8 * classes) * trees))
    leaves = min(rows // chosen.min_samples_leaf, 2 ** min(chosen.max_depth or 64, 64), chosen.max_leaf_nodes or rows)
    return recipe if leaves <= most else replace(recipe, given={**recipe.given, "max_leaf_nodes": most})


def is_forest(classifier: Any) -> bool:
    """Whether it is one of trees that are averaged."""
    return isinstance(classifier, RandomForestClassifier | ExtraTreesClassifier)


def is_cut(classifier: Any) -> bool:
    """Whether it is a forest with a tree that has as many leaves as it may."""
    most = is_forest(classifier) and classifier.max_leaf_nodes
    return bool(most) and any(tree.get_n_leaves() == most for tree in classifier.estimators_)


def hyperparameters(recipe: EstimatorConfig) -> dict[str, Any]:
    """All hyperparameters that can be chosen, with their values."""
    values = estimator(recipe, 0).get_params()
    return {name: values[name] for name in HYPERPARAMETERS[recipe.estimator]}


def cores_for(classifier: Any) -> int:
    """How many threads should use it side by side: one a core, but one where it has threads of its own, for those of
    several at once are in each other's way."""
    return 1 if isinstance(classifier, HistGradientBoostingClassifier) else int(joblib.cpu_count())


def probabilities_of(pipeline: Pipeline, features: pd.DataFrame, threads: int | None = None) -> Matrix:
    """What scikit-learn says of each row, shape (rows, classes), by so many threads (default: `cores_for`)."""
    pieces = [features.iloc[start : start + PIECE] for start in range(0, len(features), PIECE)]
    if len(pieces) < 2:
        return np.asarray(pipeline.predict_proba(features))
    work = (joblib.delayed(pipeline.predict_proba)(piece) for piece in pieces)
    return np.concatenate(joblib.Parallel(threads or cores_for(pipeline[-1]), prefer="threads")(work))


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


def boosted_trees(classifier: HistGradientBoostingClassifier) -> list[tuple[NDArray[np.void], int]]:
    """The nodes of each tree of gradient boosting, and the place of the class that it speaks of, in the order in which
    they are added up."""
    rounds = classifier._predictors  # noqa: SLF001 no public attribute holds the fitted trees (scikit-learn 1.9)
    return [(predictor.nodes, at) for trees in rounds for at, predictor in enumerate(trees)]


def boosted_start(classifier: HistGradientBoostingClassifier) -> NDArray[np.float64]:
    """What gradient boosting adds its trees to: one value a class, of two classes one in all."""
    start = classifier._baseline_prediction  # noqa: SLF001 no public attribute holds the fitted start (scikit-learn 1.9)
    return np.asarray(start, dtype=np.float64).ravel()


def own_importances(classifier: Any) -> tuple[str, Matrix]:
    """What a classifier itself says of its columns: what that is, and shares of shape (1 or trees, columns), each row
    of which sums to 1. Impurity is what each tree's splits took of it, gain what those of boosting took of loss, and
    coefficient its size, the columns being scaled. Trees of a single leaf ask nothing and have no say; where all are
    such, all is 0."""
    if isinstance(classifier, LogisticRegression):
        sizes = np.abs(classifier.coef_).sum(axis=0, keepdims=True)
        return "coefficient", sizes / (sizes.sum() or 1.0)
    if isinstance(classifier, HistGradientBoostingClassifier):
        gains = np.zeros((1, classifier.n_features_in_))
        for nodes, _ in boosted_trees(classifier):
            inner = nodes[nodes["is_leaf"] == 0]
            np.add.at(gains[0], inner["feature_idx"], inner["gain"])
        return "gain", gains / (gains.sum() or 1.0)
    asking = [tree for tree in classifier.estimators_ if tree.tree_.node_count > 1]
    if not asking:
        return "impurity", np.zeros((1, classifier.n_features_in_))
    return "impurity", np.array([tree.feature_importances_ for tree in asking])
