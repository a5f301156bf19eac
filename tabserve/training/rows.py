"""The features of a table as the rows that a model takes, and back."""

import numpy as np
import pandas as pd

from tabserve.model import Category, Matrix, ModelFeature, Schema, Vector
from tabserve.training.preprocessing import UNSEEN


def as_rows(schema: Schema, features: pd.DataFrame) -> Matrix:
    """The features of a dataset as `Schema.rows` makes them: shape (rows, model features)."""
    columns = [_codes(feature, features[feature.name]) for feature in schema.model_features]
    return np.column_stack(columns)


def _codes(feature: ModelFeature, column: pd.Series) -> Vector:
    if isinstance(feature, Category):
        return feature.codes(column.astype(object).where(column.notna(), None).tolist())
    return column.to_numpy(np.float64)


def as_table(schema: Schema, rows: Matrix) -> pd.DataFrame:
    """And back. An unknown category becomes a text that no table has."""
    columns: dict[str, pd.Series] = {}
    for feature, values in zip(schema.model_features, rows.T, strict=True):
        if isinstance(feature, Category):
            texts = np.array([*feature.categories, None, UNSEEN], dtype=object)  # UNKNOWN is -1, the last
            codes = np.where(np.isnan(values), len(feature.categories), values).astype(int)
            columns[feature.name] = pd.Series(texts[codes], dtype="str")
        else:
            columns[feature.name] = pd.Series(values)
    return pd.DataFrame(columns)
