"""The first step of a pipeline: how the features become the columns that an estimator takes, fitted and compiled."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler, TargetEncoder

from tabserve.model import Category, Matrix, Schema, Vector
from tabserve.model.compiled import INPUT, NOWHERE, NUMBER, Inputs
from tabserve.training.dataset import Dataset
from tabserve.training.encoding import FeatureEncoding

TARGET_FOLDS = 5
"""The target of a row has no part in the numbers that the row itself is encoded with for the fit: they are those of the
other folds."""

BESIDE_WEIGHT = 0.25
"""One-hot columns beside those of the target hold this instead of 1, so that a linear model regularizes their weights
16 times as much. A power of two, so that the compiled model is exact."""

UNSEEN = "\0unseen"
"""A category that no table has."""


def preprocessing_step(
    dataset: Dataset, encodings: list[FeatureEncoding], seed: int
) -> tuple[str, StandardScaler | ColumnTransformer]:
    """The name of the first step, and the step, unfitted.

    If all features are numbers and none is missing, it scales them. Otherwise each feature gets its encoding. What
    isn't zeros and ones is scaled, except numbers that may be NaN: only trees take those, and they need no scale.
    """
    if all(one.kind == "number" and not one.missing for one in encodings):
        return "scaler", StandardScaler()
    parts: list[tuple[str, Any, list[str]]] = []
    numbers = [one for one in encodings if one.kind == "number"]
    if filled := [one.name for one in numbers if one.when_missing == "median"]:
        steps = [("imputer", SimpleImputer(strategy="median", keep_empty_features=True)), ("scaler", StandardScaler())]
        parts.append(("numbers", Pipeline(steps), filled))
    if kept := [one.name for one in numbers if one.when_missing == "nan"]:
        parts.append(("kept", "passthrough", kept))
    if indicated := [one.name for one in encodings if one.has_indicator]:
        parts.append(("missing", MissingIndicator(features="all"), indicated))
    if one_hot := [one for one in encodings if one.kind == "one-hot"]:
        encoder = OneHotEncoder(
            handle_unknown="infrequent_if_exist", min_frequency=one_hot[0].rare, sparse_output=False
        )
        parts.append(("categories", encoder, [one.name for one in one_hot]))
    if by_target := [one.name for one in encodings if one.kind == "target"]:
        # one output: a number. Whole numbers would pass for classes
        target_type = {1: "continuous", 2: "binary"}.get(dataset.task.outputs, "multiclass")
        folds = KFold(TARGET_FOLDS, shuffle=True, random_state=seed)
        steps = [("encoder", TargetEncoder(target_type=target_type, cv=folds)), ("scaler", StandardScaler())]
        parts.append(("target", Pipeline(steps), by_target))
    weights = None
    if beside := [one for one in encodings if one.beside]:
        encoder = OneHotEncoder(
            handle_unknown="infrequent_if_exist", min_frequency=2, max_categories=beside[0].beside, sparse_output=False
        )
        parts.append(("beside", encoder, [one.name for one in beside]))
        weights = {"beside": BESIDE_WEIGHT}
    return "preprocessor", ColumnTransformer(parts, transformer_weights=weights, verbose_feature_names_out=False)


def transformers(pipeline: Pipeline) -> list[Any]:
    """scikit-learn's transformers in the fitted first step of a pipeline."""
    first = pipeline[0]
    if isinstance(first, StandardScaler):
        return [first]
    parts = first.named_transformers_.values()
    return [step for part in parts for step in getattr(part, "named_steps", {"": part}).values()]


def pooled_categories(pipeline: Pipeline) -> dict[str, frozenset[str]]:
    """Feature → the categories that have no column of their own; only features that have such."""
    encoder = None if isinstance(pipeline[0], StandardScaler) else pipeline[0].named_transformers_.get("categories")
    if encoder is None:
        return {}
    pairs = zip(encoder.feature_names_in_, encoder.infrequent_categories_, strict=True)
    texts = {
        str(name): [] if rare is None else [text for text in rare if isinstance(text, str)] for name, rare in pairs
    }
    return {name: frozenset(rare) for name, rare in texts.items() if rare}


def feature_of_column(pipeline: Pipeline) -> NDArray[np.intp]:
    """For each column that the fitted first step makes, the number of the feature that it is made of: shape
    (columns,)."""
    first = pipeline[0]
    names = list(pipeline.feature_names_in_)
    if isinstance(first, StandardScaler):
        return np.arange(len(names))
    numbers: list[int] = []
    for part in first.named_transformers_.values():
        for name, width in zip(part.feature_names_in_, _column_counts(part), strict=True):
            numbers += [names.index(name)] * width
    return np.array(numbers)


@dataclass(frozen=True)
class PreparedColumns:
    """What the fitted first step does, as a compiled model does it.

    Attributes:
        inputs: how features become columns.
        mean, scale: shape (columns,): how each column is scaled. Columns of zeros and ones have the mean 0, and the
            scale 1, or 1 / `BESIDE_WEIGHT`.
        scaled: the columns that are.
        column_of: number of a numeric feature → its column.
        missing_right: column → the column with the same numbers in which a missing one is larger than all others. In
            the column itself it is smaller. Only for estimators that take NaN.
    """

    inputs: Inputs
    mean: Vector
    scale: Vector
    scaled: list[int]
    column_of: dict[int, int]
    missing_right: dict[int, int]


def prepared_columns(pipeline: Pipeline, schema: Schema) -> PreparedColumns:
    """The fitted first step of the pipeline, over values as `Schema.rows` makes them."""
    first = pipeline[0]
    if isinstance(first, StandardScaler):
        every = list(range(len(schema.model_features)))
        return PreparedColumns(Inputs.plain(len(every)), first.mean_, first.scale_, every, dict(enumerate(every)), {})
    columns = _ColumnsInMaking(schema)
    for name, part in first.named_transformers_.items():
        match name:
            case "numbers":
                columns.add_numbers(part)
            case "kept":
                columns.add_kept_numbers(part)
            case "missing":
                columns.add_indicators(part)
            case "categories":
                columns.add_one_hot(part)
            case "target":
                columns.add_target_encoding(part)
            case "beside":
                columns.add_one_hot(part, BESIDE_WEIGHT)
    columns.add_missing_right()
    return columns.prepared()


class _ColumnsInMaking:
    """The columns of the parts of a fitted ColumnTransformer, in their order."""

    def __init__(self, schema: Schema) -> None:
        self.features = schema.model_features
        self.number_of = {feature.name: number for number, feature in enumerate(self.features)}
        self.schema = schema
        self.inputs: list[tuple[float, int, int, int, int]] = []
        self.places: list[int] = []
        self.values: list[float] = []
        self.mean: list[float] = []
        self.scale: list[float] = []
        self.scaled: list[int] = []
        self.column_of: dict[int, int] = {}
        self.missing_right: dict[int, int] = {}

    def prepared(self) -> PreparedColumns:
        places, values = np.array(self.places, np.int32), np.array(self.values, np.float64)
        inputs = Inputs(np.array(self.inputs, INPUT), places, values)
        mean, scale = np.array(self.mean), np.array(self.scale)
        return PreparedColumns(inputs, mean, scale, self.scaled, self.column_of, self.missing_right)

    def add_numbers(self, part: Pipeline) -> None:
        imputer, scaler = part
        for name, *values in zip(part.feature_names_in_, imputer.statistics_, scaler.mean_, scaler.scale_, strict=True):
            self._add_number(name, *values)

    def add_kept_numbers(self, part: FunctionTransformer) -> None:
        for name in part.feature_names_in_:
            self._add_number(name, -np.inf, 0.0, 1.0)

    def _add_number(self, name: str, fill: float, mean: float, scale: float) -> None:
        feature = self.number_of[name]
        fill = fill if self.features[feature].missing else np.nan
        self.column_of[feature] = self._add_number_column(feature, fill, mean, scale)

    def add_missing_right(self) -> None:
        """A column for each one in which missing numbers are smaller than all others, in which they are larger."""
        for fill, feature, column, *_ in list(self.inputs):
            if np.isneginf(fill):
                self.missing_right[column] = self._add_number_column(
                    feature, np.inf, self.mean[column], self.scale[column]
                )

    def add_indicators(self, part: MissingIndicator) -> None:
        for name in part.feature_names_in_:
            self.inputs.append((np.nan, self.number_of[name], NOWHERE, len(self.places), 0))
            self.places += [self._add_column(0.0, 1.0), NOWHERE]

    def add_one_hot(self, encoder: OneHotEncoder, weight: float = 1.0) -> None:
        first = len(self.mean)
        for feature, encoded in _encoded_categories(encoder, _column_counts(encoder), self.schema):
            self.inputs.append((np.nan, feature, NOWHERE, len(self.places), len(encoded) - 2))
            self.places += np.where(encoded.any(axis=1), first + encoded.argmax(axis=1), NOWHERE).tolist()
            first += encoded.shape[1]
        for _ in range(first - len(self.mean)):
            self._add_column(0.0, 1.0 / weight)

    def add_target_encoding(self, part: Pipeline) -> None:
        scales = zip(part[-1].mean_, part[-1].scale_, strict=True)
        for feature, encoded in _encoded_categories(part[0], _column_counts(part), self.schema):
            for values in encoded.T:
                column = self._add_column(*next(scales))
                self.scaled.append(column)
                self.inputs.append((np.nan, feature, column, len(self.values), len(values) - 2))
                self.values += values.tolist()

    def _add_number_column(self, feature: int, fill: float, mean: float, scale: float) -> int:
        column = self._add_column(mean, scale)
        self.scaled.append(column)
        self.inputs.append((fill, feature, column, 0, NUMBER))
        return column

    def _add_column(self, mean: float, scale: float) -> int:
        self.mean.append(mean)
        self.scale.append(scale)
        return len(self.mean) - 1


def _encoded_categories(encoder: Any, counts: list[int], schema: Schema) -> Iterator[tuple[int, Matrix]]:
    """For each feature of a fitted encoder, which makes `counts` columns of it: the number of the feature, and what
    becomes of a missing value, an unknown one, and each category: shape (2 + categories, columns).

    The encoder is asked, because that is simpler than its rules.
    """
    number_of = {feature.name: number for number, feature in enumerate(schema.model_features)}
    categories = {feature.name: feature.categories for feature in schema.features if isinstance(feature, Category)}
    names = encoder.feature_names_in_
    length = 2 + max(len(categories[name]) for name in names)
    values = {name: [None, UNSEEN, *(known := categories[name])] + [None] * (length - 2 - len(known)) for name in names}
    encoded, first = encoder.transform(pd.DataFrame(values, dtype="str")), 0
    for name, count in zip(names, counts, strict=True):
        yield number_of[name], encoded[: len(categories[name]) + 2, first : first + count]
        first += count


def _column_counts(part: Any) -> list[int]:
    """How many columns a fitted part of the first step makes of each of its features."""
    if isinstance(part, OneHotEncoder):  # one per category, and one for all rare ones together
        pairs = zip(part.categories_, part.infrequent_categories_, strict=True)
        return [len(categories) - (0 if rare is None else len(rare) - 1) for categories, rare in pairs]
    features = len(part.feature_names_in_)
    if isinstance(part, Pipeline) and isinstance(part[0], TargetEncoder):
        return [len(part[0].encodings_) // features] * features
    return [1] * features
