"""Codecs: from the bytes of a body to valid rows, and from prediction records to the bytes of a reply.

Knows JSON and Arrow. Doesn't know routes, status codes or headers. Promises that what it decodes is valid for the
schema, and that a refusal names the field and never repeats the caller's value.
"""

from tabserve.web.codecs.arrow_replies import encode_arrow_batch
from tabserve.web.codecs.arrow_requests import MEDIA_TYPE as ARROW
from tabserve.web.codecs.arrow_requests import decode_arrow_batch
from tabserve.web.codecs.json_replies import encode, encode_batch, encode_prediction
from tabserve.web.codecs.json_requests import JsonRequests, TooManyRowsError
from tabserve.web.codecs.problems import problem, problems

JSON = "application/json"

__all__ = [
    "ARROW", "JSON", "JsonRequests", "TooManyRowsError", "decode_arrow_batch", "encode", "encode_arrow_batch",
    "encode_batch", "encode_prediction", "problem", "problems",
]  # fmt: skip
