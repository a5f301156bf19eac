"""The schema that training rows imply."""

from collections.abc import Collection

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from sklearn.pipeline import Pipeline

from tabserve.errors import DataError
from tabserve.model import Category, Feature, Number, Schema
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
    if empty := [str(name) for name, column in training.features.items() if not column.notna().any()]:
        raise DataError(f"column {empty[0]!r} has no value in the training rows: --drop '{empty[0]}'")
    pooled = pooled_categories(pipeline)
    return Schema(
        target=str(training.target.name),
        features=tuple(
            _feature(column, training.missing.get(str(name), 0), pooled.get(str(name), frozenset()))
            for name, column in training.features.items()
        ),
        task=training.task,
    )


def _feature(column: pd.Series, missing: int, pooled: Collection[str]) -> Feature:
    name = str(column.name)
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
        minimum=float(present.min()),
        maximum=float(present.max()),
        mean=float(present.mean()),
        lowest=max(-MAX_SCALED, mean - MAX_SCALED * scale),
        highest=min(MAX_SCALED, mean + MAX_SCALED * scale),
    )
