"""Requests as they go over the wire, and JSON that is nearly a body."""

import json

from benchmarks.load import request
from tests.support.models import ROW

BODY = json.dumps(ROW).encode()


SHORT_WAY, ROUTE = request("/predict", BODY), request("/predict?by=route", BODY)


BATCH = request(
    "/predict/batch", json.dumps({"columns": {name: [value] * 1000 for name, value in ROW.items()}}).encode()
)


PUT = [b"", *(bytes([byte]) for byte in b'[]{}",:0e-. n'), b"\\u0041", b"],", b"[1]", b"},{"]
