"""The first step of a pipeline: how the features become the columns that an estimator takes, fitted and compiled."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tabserve.model import Category, Schema, Vector
from tabserve.model.compiled import INPUT, NOWHERE, Inputs
from tabserve.training.dataset import Dataset

RARE_SHARE = 0.01
"""Categories with a smaller share of the training rows have one column together, with those that training didn't
see."""

UNSEEN = "\0unseen"
"""A category that no table has."""


def preprocessing_step(dataset: Dataset) -> tuple[str, StandardScaler | ColumnTransformer]:
    """The name of the first step, and the step, unfitted.

    If all features are numbers and none is missing, it scales them. Otherwise it fills in medians for missing numbers
    and scales, and makes a column of zeros and ones for each category.
    """
    features = dataset.features
    numbers = [name for name, dtype in features.dtypes.items() if is_numeric_dtype(dtype)]
    categories = [name for name in features.columns if name not in numbers]
    if not categories and not dataset.missing:
        return "scaler", StandardScaler()
    parts: list[tuple[str, Any, list[Any]]] = []
    if numbers:
        steps = [("imputer", SimpleImputer(strategy="median", keep_empty_features=True)), ("scaler", StandardScaler())]
        parts.append(("numbers", Pipeline(steps), numbers))
    if categories:
        encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=RARE_SHARE, sparse_output=False)
        parts.append(("categories", encoder, categories))
    return "preprocessor", ColumnTransformer(parts, verbose_feature_names_out=False)


def transformers(pipeline: Pipeline) -> list[Any]:
    """scikit-learn's transformers in the fitted first step of a pipeline."""
    first = pipeline[0]
    if isinstance(first, StandardScaler):
        return [first]
    parts = first.named_transformers_.values()
    return [step for part in parts for step in getattr(part, "named_steps", {"": part}).values()]


def feature_of_column(pipeline: Pipeline) -> NDArray[np.intp]:
    """For each column that the fitted first step makes, the number of the feature that it is made of: shape
    (columns,)."""
    first = pipeline[0]
    names = list(pipeline.feature_names_in_)
    if isinstance(first, StandardScaler):
        return np.arange(len(names))
    numbers: list[int] = []
    for part in first.named_transformers_.values():
        widths = _column_counts(part) if isinstance(part, OneHotEncoder) else [1] * len(part.feature_names_in_)
        for name, width in zip(part.feature_names_in_, widths, strict=True):
            numbers += [names.index(name)] * width
    return np.array(numbers)


@dataclass(frozen=True)
class PreparedColumns:
    """What the fitted first step does, as a compiled model does it.

    Attributes:
        inputs: how features become columns.
        mean, scale: shape (columns,): how each column is scaled. Columns of categories are not: mean 0, scale 1.
        numbers: the columns that are numeric features.
    """

    inputs: Inputs
    mean: Vector
    scale: Vector
    numbers: list[int]


def prepared_columns(pipeline: Pipeline, schema: Schema) -> PreparedColumns:
    """The fitted first step of the pipeline, over values as `Schema.rows` makes them."""
    first = pipeline[0]
    if isinstance(first, StandardScaler):
        count = len(schema.model_features)
        return PreparedColumns(Inputs.plain(count), first.mean_, first.scale_, list(range(count)))
    names = [feature.name for feature in schema.model_features]
    features = np.zeros(len(names), INPUT)
    features["fill"] = np.nan
    places: list[int] = []
    mean, scale = np.empty(0), np.empty(0)
    if number_steps := first.named_transformers_.get("numbers"):
        imputer, scaler = number_steps[0], number_steps[-1]
        mean, scale = scaler.mean_, scaler.scale_
        for column, name in enumerate(number_steps.feature_names_in_):
            feature = names.index(name)
            features["column"][feature] = column
            if schema.model_features[feature].missing:
                features["fill"][feature] = imputer.statistics_[column]
    numbers = list(range(len(mean)))
    if encoder := first.named_transformers_.get("categories"):
        for name, columns in _encoded_columns(encoder, schema).items():
            feature = names.index(name)
            features["codes"][feature], features["count"][feature] = len(places), len(columns) - 2
            places += [NOWHERE if column < 0 else column + len(numbers) for column in columns]
        width = len(encoder.get_feature_names_out())
        mean, scale = np.append(mean, np.zeros(width)), np.append(scale, np.ones(width))
    return PreparedColumns(Inputs(features, np.array(places, np.int32)), mean, scale, numbers)


def _encoded_columns(encoder: OneHotEncoder, schema: Schema) -> dict[str, list[int]]:
    """For each feature the columns that the encoder sets for a missing value, for an unknown one, and for each
    category; -1 for none. The encoder is asked, because that is simpler than its rules."""
    categories = {feature.name: feature.categories for feature in schema.features if isinstance(feature, Category)}
    length = 2 + max(map(len, categories.values()))
    values = {name: [None, UNSEEN, *known] + [None] * (length - 2 - len(known)) for name, known in categories.items()}
    frame = pd.DataFrame(values, dtype="str")[encoder.feature_names_in_]
    encoded = encoder.transform(frame)
    columns, first = {}, 0
    for name, width in zip(encoder.feature_names_in_, _column_counts(encoder), strict=True):
        own = encoded[: len(categories[name]) + 2, first : first + width]
        columns[name] = np.where(own.any(axis=1), first + own.argmax(axis=1), NOWHERE).tolist()
        first += width
    return columns


def _column_counts(encoder: OneHotEncoder) -> list[int]:
    """How many columns the encoder makes of each feature: one per category, and one for all rare ones together."""
    pairs = zip(encoder.categories_, encoder.infrequent_categories_, strict=True)
    return [len(categories) - (0 if rare is None else len(rare) - 1) for categories, rare in pairs]
