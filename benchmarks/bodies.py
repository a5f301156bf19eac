"""What is sent: rows drawn over Iris' ranges, so that hardly any comes twice, as the bodies of requests."""

import json

import numpy as np
import pyarrow as pa

from benchmarks.load import request
from tabserve.model.arrays import Matrix
from tabserve.web.codecs import ARROW

NAMES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
LOW, HIGH = (4.3, 2.0, 1.0, 0.1), (7.9, 4.4, 6.9, 2.5)


def rows(count: int) -> Matrix:
    return np.random.default_rng(count).uniform(LOW, HIGH, (count, 4)).round(2)


def records(drawn: Matrix) -> list[dict[str, float]]:
    return [dict(zip(NAMES, row, strict=True)) for row in drawn.tolist()]


def singles(drawn: Matrix) -> list[bytes]:
    """A request to `/predict` for each row."""
    return [request("/predict", json.dumps(record).encode()) for record in records(drawn)]


def batches(drawn: Matrix) -> dict[str, bytes]:
    """A request to `/predict/batch` with all rows, in every form that it may have."""
    columns = {name: drawn[:, number].tolist() for number, name in enumerate(NAMES)}
    return {
        "JSON, columns": request("/predict/batch", json.dumps({"columns": columns}).encode()),
        "JSON, records": request("/predict/batch", json.dumps({"records": records(drawn)}).encode()),
        "Arrow stream": request("/predict/batch", _stream(columns), ARROW),
    }


def _stream(columns: dict[str, list[float]]) -> bytes:
    content = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, content.schema) as writer:
        writer.write_table(content)
    body: bytes = sink.getvalue().to_pybytes()
    return body
