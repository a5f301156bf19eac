"""The schema that training rows imply."""

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from tabserve.model import Category, Feature, Number, Schema
from tabserve.training.dataset import Dataset

MAX_SCALED = float(np.finfo(np.float32).max) / 2
"""The largest scaled value that a model may get. Trees compare in float32; a factor of two is left before an
overflow."""


def infer_schema(training: Dataset) -> Schema:
    """The schema of a model of these training rows: the ranges and categories of its features, and its task."""
    return Schema(
        target=str(training.target.name),
        features=tuple(
            _feature(column, training.missing.get(str(name), 0)) for name, column in training.features.items()
        ),
        task=training.task,
    )


def _feature(column: pd.Series, missing: int) -> Feature:
    name = str(column.name)
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
        minimum=float(present.min()),
        maximum=float(present.max()),
        mean=float(present.mean()),
        lowest=max(-MAX_SCALED, mean - MAX_SCALED * scale),
        highest=min(MAX_SCALED, mean + MAX_SCALED * scale),
    )
