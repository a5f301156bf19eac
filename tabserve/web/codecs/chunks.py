"""Large bodies, a piece at a time, so that whoever waits for Python's lock can have it in between.

A call into the JSON library keeps that lock to its end: 60 ms for the reply to 100,000 rows, in which no other request
is answered. A piece takes a third of a millisecond. Splits bytes where a list of numbers or objects can be split, and
validates nothing: for a body that isn't written as expected the answer is None.
"""

import re
from collections.abc import Iterator

SIZE = 16 * 1024
"""Bytes in a piece of a body, about."""

ROWS = 1024
"""Rows in a piece of a reply."""

_WS = rb"[ \t\r\n]*"
_COLUMNS = re.compile(_WS.join([b"", rb"\{", b'"columns"', b":", rb"\{"]))
_COLUMN = re.compile(_WS.join([b"", rb'"([^"\\]*)"', b":", rb"\["]))
_RECORDS = re.compile(_WS.join([b"", rb"\{", b'"records"', b":", rb"\["]))
_COMMA = re.compile(_WS + b",")
_END_OF_COLUMNS = re.compile(_WS.join([b"", rb"\}", rb"\}", b""]))
_END_OF_RECORDS = re.compile(_WS.join([rb"\]", rb"\}", b""]))


def columns(body: bytes, most: int) -> dict[bytes, Iterator[bytes]] | None:
    """`{"columns": {"a": [1, 2], …}}` → for each of at most `most` names, as it is written, its list in pieces, each a
    JSON array. If all pieces are valid and none is empty, so is the list."""
    found: dict[bytes, Iterator[bytes]] = {}
    head = _COLUMNS.match(body)
    while head:
        column = _COLUMN.match(body, head.end())
        end = body.find(b"]", column.end()) if column else -1
        if column is None or end < 0 or column[1] in found or len(found) == most:
            return None
        found[column[1]] = _split(body, column.end(), end, b",")
        head = _COMMA.match(body, end + 1)
        if not head:
            return found if _END_OF_COLUMNS.fullmatch(body, end + 1) else None
    return None


def records(body: bytes) -> Iterator[bytes] | None:
    """`{"records": [{…}, …]}` → the list in pieces, each a JSON array, as for `columns`."""
    head, end = _RECORDS.match(body), body.rfind(b"]")
    if not head or end < head.end() or not _END_OF_RECORDS.fullmatch(body, end):
        return None
    return _split(body, head.end(), end, b"}")


def _split(body: bytes, start: int, end: int, mark: bytes) -> Iterator[bytes]:
    """Cuts behind the first `mark` that `SIZE` bytes end in; a comma follows, or is the mark itself."""
    while end - start > SIZE:
        cut = body.find(mark, start + SIZE, end)
        comma = _COMMA.match(body, cut + (mark != b","), end) if cut >= 0 else None
        if comma is None:
            break
        yield b"[%b]" % body[start : comma.end() - 1]
        start = comma.end()
    yield b"[%b]" % body[start:end]
