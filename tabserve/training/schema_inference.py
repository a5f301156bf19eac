"""The schema that training rows imply."""

import numpy as np
from pandas.api.types import is_numeric_dtype

from tabserve.model import Boolean, Category, Date, Feature, Number, Schema
from tabserve.model.dates import PartRange, iso_text, part_column
from tabserve.training.dataset import Dataset

MAX_SCALED = float(np.finfo(np.float32).max) / 2
"""The largest scaled value that a model may get. Trees compare in float32; a factor of two is left before an
overflow."""


def infer_schema(training: Dataset) -> Schema:
    """The schema of a model of these training rows: the ranges and categories of its features, and its task."""
    features: dict[str, Feature] = {}
    for column, name in training.feature_of.items():
        if name not in features:
            features[name] = _feature(training, name, column)
    return Schema(target=str(training.target.name), features=tuple(features.values()), task=training.task)


def _feature(training: Dataset, name: str, first_column: str) -> Feature:
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
        return Category(
            name=name, missing=missing, categories=tuple(map(str, counts.index)), counts=tuple(map(int, counts))
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
