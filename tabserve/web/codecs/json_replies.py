"""Encodes replies as JSON."""

import itertools
from collections.abc import Sequence

import numpy as np
import orjson
from pydantic_core import to_json

from tabserve.inference import BatchPrediction, Prediction
from tabserve.model import Labels
from tabserve.model.task import Column, LabelSets
from tabserve.web.codecs import chunks


def encode(content: object) -> bytes:
    """Strict JSON of plain values, dataclasses and pydantic models. NaN and infinity, which JSON lacks, become null."""
    return to_json(content, inf_nan_mode="null")


def encode_prediction(prediction: Prediction) -> bytes:
    """The reply of /predict."""
    return orjson.dumps(prediction.reply())


def encode_batch(batch: BatchPrediction) -> bytes:
    """The reply of /predict/batch: columns, encoded in chunks of rows."""
    columns = batch.outcomes.columns()
    encoded: dict[str, list[bytes]] = {name: [] for name in columns}
    for start in range(0, len(batch), chunks.ROWS):
        rows = slice(start, start + chunks.ROWS)
        for name, column in columns.items():
            # straight from the array: three times as fast as by way of a list
            encoded[name].append(orjson.dumps(_values(column, rows), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1])
    parts = [to_json(batch_head(batch))[:-1]]
    for name, pieces in encoded.items():
        parts.append(b',"%b":[' % name.encode())
        parts += itertools.chain.from_iterable(zip(pieces, itertools.repeat(b","), strict=False))
        parts[-1] = b"]"
    return b"".join([*parts, b',"warnings":', to_json(batch_warnings(batch)), b"}"])  # one join: it takes 2 ms for 4 MB


def batch_head(batch: BatchPrediction) -> dict[str, object]:
    """What a batch reply says once."""
    head = {"batch_id": batch.batch_id, "model_version": batch.model_version, "timestamp": batch.timestamp}
    return {**head, **batch.outcomes.head()}


def batch_warnings(batch: BatchPrediction) -> list[dict[str, object]]:
    """The warnings of all rows, each with the number of its row."""
    return [
        {"row": number, "feature": warning.feature, "message": warning.message}
        for number in batch.schema.rows_with_warnings(batch.rows.values)
        for warning in batch.schema.warnings(batch.rows.values[number].tolist())
    ]


def _values(column: Column, rows: slice) -> np.ndarray | Sequence[object]:
    if isinstance(column, LabelSets):
        return column.lists(rows)
    if isinstance(column, Labels):
        names = column.names
        return [names[code] for code in column.codes[rows].tolist()]
    return column[rows]
