"""The features of a table as the rows that a model takes, and back."""

import numpy as np
import pandas as pd

from tabserve.model import Category, Matrix, Schema
from tabserve.training.preprocessing import UNSEEN


def as_rows(schema: Schema, features: pd.DataFrame) -> Matrix:
    """The features of a table as `Schema.rows` makes them: shape (rows, features)."""
    columns = (features[name] for name in schema.feature_names)
    return schema.rows(
        {str(column.name): column.astype(object).where(column.notna(), None).tolist() for column in columns}
    ).values


def as_table(schema: Schema, rows: Matrix) -> pd.DataFrame:
    """And back. An unknown category becomes a text that no table has."""
    columns: dict[str, pd.Series] = {}
    for feature, values in zip(schema.features, rows.T, strict=True):
        if isinstance(feature, Category):
            texts = np.array([*feature.categories, None, UNSEEN], dtype=object)  # UNKNOWN is -1, the last
            codes = np.where(np.isnan(values), len(feature.categories), values).astype(int)
            columns[feature.name] = pd.Series(texts[codes], dtype="str")
        else:
            columns[feature.name] = pd.Series(values)
    return pd.DataFrame(columns)
