"""The requests that are sent: random rows over the ranges of Iris, which rarely repeat."""

import json

import numpy as np
import pyarrow as pa

from benchmarks.load import request
from tabserve.model import Matrix
from tabserve.web.codecs import ARROW

NAMES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
LOWEST, HIGHEST = (4.3, 2.0, 1.0, 0.1), (7.9, 4.4, 6.9, 2.5)


def rows(count: int) -> Matrix:
    """Random rows, shape (count, 4). The same count always gives the same rows."""
    return np.random.default_rng(count).uniform(LOWEST, HIGHEST, (count, 4)).round(2)


def records(matrix: Matrix) -> list[dict[str, float]]:
    return [dict(zip(NAMES, row, strict=True)) for row in matrix.tolist()]


def singles(matrix: Matrix) -> list[bytes]:
    """A request to `/predict` for each row."""
    return [request("/predict", json.dumps(record).encode()) for record in records(matrix)]


def batches(matrix: Matrix) -> dict[str, bytes]:
    """A request to `/predict/batch` with all rows, in each of the body's formats."""
    columns = {name: matrix[:, i].tolist() for i, name in enumerate(NAMES)}
    return {
        "JSON, columns": request("/predict/batch", json.dumps({"columns": columns}).encode()),
        "JSON, records": request("/predict/batch", json.dumps({"records": records(matrix)}).encode()),
        "Arrow stream": request("/predict/batch", _stream(columns), ARROW),
    }


def _stream(columns: dict[str, list[float]]) -> bytes:
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    body: bytes = sink.getvalue().to_pybytes()
    return body
