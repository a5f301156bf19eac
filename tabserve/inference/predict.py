"""A model's answer as a record: rows in, `Prediction` or `Batch` out. Knows no registry and no transport."""

import functools
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np

from tabserve.inference.record import Batch, Prediction
from tabserve.model.predictor import Predictor
from tabserve.model.schema import Rows, Value


def predict(predictor: Predictor, values: Mapping[str, Value], started: float) -> Prediction:
    """Answers one row, `values` by feature name, which the record keeps. `started`: `time.perf_counter()` when its body
    was complete."""
    schema = predictor.schema
    row = schema.row(values)
    shares, is_unlike_training = predictor.answer(row)
    confidence = max(shares)
    index = shares.index(confidence)  # the first of equals, as numpy's argmax and so scikit-learn
    label, warnings = schema.classes[index], schema.warnings(row) if is_unlike_training else ()
    milliseconds = (time.perf_counter() - started) * 1000
    # by position: by name it takes twice as long
    return Prediction(
        os.urandom(16).hex(), _now(), predictor.model_version,
        values, index, label, shares, confidence, warnings, milliseconds,
    )  # fmt: skip


def _now() -> str:
    """Now as ISO 8601, UTC, with microseconds."""
    second, microsecond = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{_until_the_second(second)}.{microsecond:06}+00:00"


@functools.lru_cache(maxsize=1)
def _until_the_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def predict_batch(predictor: Predictor, rows: Rows, started: float) -> Batch:
    """Answers rows, in their order."""
    shares = predictor.probabilities(rows.values)
    best = shares.argmax(axis=1)
    return Batch(
        batch_id=os.urandom(16).hex(),
        timestamp=_now(),
        model_version=predictor.model_version,
        schema=predictor.schema,
        rows=rows,
        prediction=best,
        prediction_proba=shares,
        confidence=shares[np.arange(len(rows)), best],
        latency_ms=(time.perf_counter() - started) * 1000,
    )
