"""Predicts: valid rows in, a prediction record out."""

import functools
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from tabserve.inference.records import BatchPrediction, Prediction
from tabserve.model import Predictor, Rows, Value


def predict(predictor: Predictor, values: Mapping[str, Value], started: float) -> Prediction:
    """Predicts one valid row. `values` maps features to values, and the record keeps it. `started` is
    `time.perf_counter()` when the body was complete."""
    schema = predictor.schema
    row = schema.row(values)
    outputs, is_outside_training = predictor.row_outputs(row)
    outcome = schema.task.decide(outputs)
    warnings = schema.warnings(row) if is_outside_training else ()
    milliseconds = (time.perf_counter() - started) * 1000
    # positional arguments: keywords take twice as long
    return Prediction(os.urandom(16).hex(), _now(), predictor.model_version, values, outcome, warnings, milliseconds)


def predict_batch(predictor: Predictor, rows: Rows, started: float) -> BatchPrediction:
    """Predicts valid rows, in their order."""
    outcomes = predictor.schema.task.decide_rows(predictor.outputs(rows.values))
    return BatchPrediction(
        batch_id=os.urandom(16).hex(),
        timestamp=_now(),
        model_version=predictor.model_version,
        schema=predictor.schema,
        rows=rows,
        outcomes=outcomes,
        latency_ms=(time.perf_counter() - started) * 1000,
    )


def _now() -> str:
    """The current time as ISO 8601, UTC, with microseconds."""
    second, microsecond = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{_formatted_second(second)}.{microsecond:06}+00:00"


@functools.lru_cache(maxsize=1)
def _formatted_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
