"""What a recipe makes: scikit-learn's pipeline of preprocessing and estimator, and how its columns belong to features.

Fits nothing and measures nothing.
"""

from collections.abc import Mapping
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

from classifier.compiled import NODE
from classifier.data import Table
from classifier.recipe import HYPERPARAMETERS, Recipe
from classifier.schema import Matrix

RARE = 0.01
"""A category with a smaller share of the rows is a rare one."""

FOREST_BYTES = 100 * 10**6
"""What a compiled forest may take, unless its leaves are limited by hand. A server holds two of them during a swap, and
scikit-learn's own takes five times as much."""

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


def estimator(recipe: Recipe, seed: int) -> Any:
    """What the recipe says, not fitted."""
    return ESTIMATORS[recipe.estimator](**{**OWN_DEFAULTS.get(recipe.estimator, {}), **recipe.given}, random_state=seed)


def bounded(recipe: Recipe, rows: int, classes: int) -> Recipe:
    """The recipe; for so many rows that its forest could take more than `FOREST_BYTES`, with a limit on the leaves of
    each tree, unless it has one. A tree has at most as many leaves as rows, and not twice as many nodes as leaves."""
    if recipe.estimator not in ("random-forest", "extra-trees") or "max_leaf_nodes" in recipe.given:
        return recipe
    chosen = estimator(recipe, 0)
    most = FOREST_BYTES // ((2 * NODE.itemsize + 8 * classes) * chosen.n_estimators)
    if rows // chosen.min_samples_leaf <= most:
        return recipe
    return replace(recipe, given={**recipe.given, "max_leaf_nodes": max(2, most)})


def is_forest(classifier: Any) -> bool:
    """Whether it is one of trees that are averaged."""
    return isinstance(classifier, RandomForestClassifier | ExtraTreesClassifier)


def hyperparameters(recipe: Recipe) -> dict[str, Any]:
    """All hyperparameters that can be chosen, with their values."""
    values = estimator(recipe, 0).get_params()
    return {name: values[name] for name in HYPERPARAMETERS[recipe.estimator]}


def probabilities_of(pipeline: Pipeline, features: pd.DataFrame, threads: int | None = None) -> Matrix:
    """What scikit-learn says of each row, shape (rows, classes), by so many threads (default: one a core)."""
    pieces = [features.iloc[start : start + PIECE] for start in range(0, len(features), PIECE)]
    if len(pieces) < 2:
        return np.asarray(pipeline.predict_proba(features))
    work = (joblib.delayed(pipeline.predict_proba)(piece) for piece in pieces)
    return np.concatenate(joblib.Parallel(threads or joblib.cpu_count(), prefer="threads")(work))


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


def own_importances(classifier: Any) -> tuple[str, Matrix]:
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
