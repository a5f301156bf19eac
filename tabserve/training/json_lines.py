"""Reads JSON lines: an object on each line, a row; or one JSON list of such objects."""

import itertools

import orjson
import pandas as pd

from tabserve.errors import DataError
from tabserve.training.raw_table import RawTable
from tabserve.training.source import OpenFile, TableSource

CHUNK_ROWS = 50_000
"""So many rows are Python objects at a time."""


def is_json(start: bytes) -> bool:
    """Whether a file that starts with these bytes is JSON lines, or a list."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text.startswith(b"{") or (text.startswith(b"[") and text[1:].lstrip().startswith((b"{", b"]")))


def read_json_lines(open_file: OpenFile, source: TableSource) -> RawTable:
    """The table. A key that some rows lack is missing there, and so is null. Lists and objects become texts.

    Raises:
        DataError: a line is no JSON, or no object.
    """
    frames, done = [], 0
    with open_file() as file:
        lines = iter(file)
        while chunk := list(itertools.islice(lines, CHUNK_ROWS)):
            if not done and _is_list(chunk[0]):
                frames.append(_frame(_rows_of_list(b"".join([*chunk, *lines]), source)))
                break
            frames.append(
                _frame([_row(line, done + number, source) for number, line in enumerate(chunk, 1) if line.strip()])
            )
            done += len(chunk)
    return RawTable(pd.concat(frames, ignore_index=True))


def _is_list(line: bytes) -> bool:
    return line.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _row(line: bytes, number: int, source: TableSource) -> dict[str, object]:
    try:
        row = orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise DataError(f"{source.name} can't be read: line {number} is no JSON: {error}") from None
    if not isinstance(row, dict):
        raise DataError(f"{source.name} can't be read: line {number} is no JSON object")
    return row


def _rows_of_list(content: bytes, source: TableSource) -> list[dict[str, object]]:
    try:
        rows = orjson.loads(content.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise DataError(f"{source.name} can't be read: it is no JSON: {error}") from None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise DataError(f"{source.name} can't be read: entry {number} of its list is no object")
    return list(rows)


def _frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    frame = pd.DataFrame.from_records(rows)
    for name, column in frame.items():
        if pd.api.types.is_object_dtype(column.dtype) and any(isinstance(value, list | dict) for value in column):
            frame[name] = [
                orjson.dumps(value).decode() if isinstance(value, list | dict) else value for value in column
            ]
    return frame
