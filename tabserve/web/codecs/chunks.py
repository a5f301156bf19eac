"""Splits large JSON bodies into chunks, so that other threads get the GIL in between.

A call into a JSON library keeps the GIL to its end: for the reply to 100,000 rows that is 60 ms, in which no other
request is answered. A chunk takes a third of a millisecond. A body is split where a list of numbers or objects can be
split. Nothing is validated here: None means that the body has another form than expected.
"""

import re
from collections.abc import Iterator

BYTES = 16 * 1024
"""Approximate size of a chunk of a body."""

ROWS = 1024
"""Rows in a chunk of a reply."""

_WS = rb"[ \t\r\n]*"
_COLUMNS = re.compile(_WS.join([b"", rb"\{", b'"columns"', b":", rb"\{"]))
_COLUMN = re.compile(_WS.join([b"", rb'"([^"\\]*)"', b":", rb"\["]))
_RECORDS = re.compile(_WS.join([b"", rb"\{", b'"records"', b":", rb"\["]))
_COMMA = re.compile(_WS + b",")
_END_OF_COLUMNS = re.compile(_WS.join([b"", rb"\}", rb"\}", b""]))
_END_OF_RECORDS = re.compile(_WS.join([rb"\]", rb"\}", b""]))


def split_columns(body: bytes, most: int) -> dict[bytes, Iterator[bytes]] | None:
    """`{"columns": {"a": [1, 2], …}}` → for each of at most `most` names, as written, the chunks of its list. Each
    chunk is a JSON array. If all chunks are valid and none is empty, the list is valid."""
    columns: dict[bytes, Iterator[bytes]] = {}
    head = _COLUMNS.match(body)
    while head:
        column = _COLUMN.match(body, head.end())
        end = body.find(b"]", column.end()) if column else -1
        if column is None or end < 0 or column[1] in columns or len(columns) == most:
            return None
        columns[column[1]] = _split(body, column.end(), end, b",")
        head = _COMMA.match(body, end + 1)
        if not head:
            return columns if _END_OF_COLUMNS.fullmatch(body, end + 1) else None
    return None


def split_records(body: bytes) -> Iterator[bytes] | None:
    """`{"records": [{…}, …]}` → the chunks of the list, as for `split_columns`."""
    head, end = _RECORDS.match(body), body.rfind(b"]")
    if not head or end < head.end() or not _END_OF_RECORDS.fullmatch(body, end):
        return None
    return _split(body, head.end(), end, b"}")


def _split(body: bytes, start: int, end: int, mark: bytes) -> Iterator[bytes]:
    """Cuts after the first `mark` beyond each `BYTES` bytes. A comma follows the mark, or the mark is the comma."""
    while end - start > BYTES:
        cut = body.find(mark, start + BYTES, end)
        comma = _COMMA.match(body, cut + (mark != b","), end) if cut >= 0 else None
        if comma is None:
            break
        yield b"[%b]" % body[start : comma.end() - 1]
        start = comma.end()
    yield b"[%b]" % body[start:end]
