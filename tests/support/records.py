"""Predictions as records."""

import numpy as np

from tabserve.inference.record import Batch, Prediction
from tabserve.model.schema import Number, Rows, Schema


def prediction(number: int) -> Prediction:
    time = f"2026-01-01T00:{number // 60:02}:{number % 60:02}+00:00"
    return Prediction(str(number), time, "20260101_000000", {}, 0, "a", (1.0,), 1.0, (), 0.1)


def batch(rows: int, second: int) -> Batch:
    time = f"2026-01-01T00:00:{second:02}+00:00"
    feature = Number(name="x", minimum=0, maximum=1e9, mean=1, lowest=-1e9, highest=1e9)
    schema = Schema(target="kind", features=(feature,), classes=("a", "b"))
    zeros, column = np.zeros(rows, dtype=np.intp), np.arange(float(rows))
    return Batch(
        f"b{second}", time, "20260101_000000", schema, Rows(column[:, None]), zeros, np.ones((rows, 2)), column, 0.1
    )
