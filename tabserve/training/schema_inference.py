"""The schema that training rows imply."""

from collections.abc import Collection

import numpy as np
from pandas.api.types import is_numeric_dtype
from sklearn.pipeline import Pipeline

from tabserve.errors import DataError
from tabserve.model import Boolean, Category, Date, Feature, Number, Schema
from tabserve.model.dates import PartRange, iso_text, part_column
from tabserve.training.dataset import Dataset
from tabserve.training.preprocessing import pooled_categories

MAX_SCALED = float(np.finfo(np.float32).max) / 2
"""The largest scaled value that a model may get. Trees compare in float32; a factor of two is left before an
overflow."""


def infer_schema(training: Dataset, pipeline: Pipeline) -> Schema:
    """The schema of the pipeline that was fitted to these training rows: the ranges and categories of its features, and
    its task.

    Raises:
        DataError: a feature has no value in the training rows.
    """
    for column, name in training.feature_of.items():
        if not training.features[column].notna().any():
            raise DataError(f"column {name!r} has no value in the training rows: --drop '{name}'")
    pooled, features = pooled_categories(pipeline), dict[str, Feature]()
    for column, name in training.feature_of.items():
        if name not in features:
            features[name] = _feature(training, name, column, pooled.get(name, frozenset()))
    return Schema(target=str(training.target.name), features=tuple(features.values()), task=training.task)


def _feature(training: Dataset, name: str, first_column: str, pooled: Collection[str]) -> Feature:
    column, missing = training.features[first_column], training.missing.get(first_column, 0)
    if date := training.dates.get(name):
        parts = {part: training.features[part_column(name, part)] for part in date.parts}
        ranges = tuple(
            PartRange(part=part, minimum=float(numbers.min()), maximum=float(numbers.max()))
            for part, numbers in parts.items()
        )
        first, last = (iso_text(moment.to_pydatetime()) for moment in (date.values.min(), date.values.max()))
        return Date(name=name, missing=missing, first=first, last=last, origin=iso_text(date.origin), parts=ranges)
    if name in training.booleans:
        trues = int(column.sum())
        falses = int(column.notna().sum()) - trues
        return Boolean(name=name, missing=missing, trues=trues, falses=falses, texts=training.booleans[name])
    if not is_numeric_dtype(column.dtype):
        counts = column.value_counts().sort_index()
        ordered = sorted(counts.items(), key=lambda pair: pair[0] in pooled)  # those that are told apart come first
        return Category(
            name=name,
            missing=missing,
            categories=tuple(str(category) for category, _ in ordered),
            counts=tuple(int(count) for _, count in ordered),
            pooled=len(pooled),
        )
    present = column.dropna()
    # as the scaler sees the column: missing values are filled with the median, and a constant has the scale 1
    filled = column.fillna(present.median())
    mean, scale = float(filled.mean()), float(filled.std(ddof=0)) or 1.0
    return Number(
        name=name,
        missing=missing,
        unit="seconds" if name in training.durations else "",
        minimum=float(present.min()),
        maximum=float(present.max()),
        mean=float(present.mean()),
        lowest=max(-MAX_SCALED, mean - MAX_SCALED * scale),
        highest=min(MAX_SCALED, mean + MAX_SCALED * scale),
    )
