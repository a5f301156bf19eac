"""Requests as bytes on the wire, and pieces of JSON that almost make a valid body."""

import json

from benchmarks.load import request
from tests.support.models import ROW

BODY = json.dumps(ROW).encode()

FAST = request("/predict", BODY)
"""A row that the fast path answers."""

ROUTE = request("/predict?by=route", BODY)
"""A row that the route answers: a query is too unusual for the fast path."""

BATCH = request(
    "/predict/batch", json.dumps({"columns": {name: [value] * 1000 for name, value in ROW.items()}}).encode()
)

SPLICES = [b"", *(bytes([byte]) for byte in b'[]{}",:0e-. n'), b"\\u0041", b"],", b"[1]", b"},{"]
"""What a test puts into a valid body, at any place, to see whether two parsers still agree."""
