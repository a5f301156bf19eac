"""From an exception to the reply that refuses a request: the only place where an error of the domain gets a status
code.

`tabserve.web.body` and `tabserve.web.protocol` refuse what never gets as far as a decoder, with 400, 413, 415 and 431.
"""

import logging
from typing import NamedTuple

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from tabserve.errors import InvalidInputError, OverloadedError, TabserveError
from tabserve.web.codecs import JSON, TooManyRowsError, encode, problems
from tabserve.web.context import RequestContext

log = logging.getLogger("tabserve.web")

RETRY_SECONDS, BUSY_SECONDS = 5, 1
"""In the `Retry-After` of a 503: if the service can't predict, and if it has too much work."""

INTERNAL_ERROR = "An internal error occurred. The server's log has the details under this request_id."


class CallerGoneError(Exception):
    """The caller closed the connection before it had its reply."""


class Reply(NamedTuple):
    """A reply in bytes, ready for any transport. `headers` come in addition to content type, length and request id."""

    status: int
    body: bytes
    media_type: str = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


def refusal(error: Exception, context: RequestContext) -> Reply:
    """The reply to a request that failed with this exception. One that nobody expected is logged with its traceback."""
    status, detail, headers = _described(error)
    if status == 500:
        log.error("internal error", extra={"request_id": context.request_id}, exc_info=error)
    return Reply(status, encode({"detail": detail, "request_id": context.request_id}), JSON, headers)


def _described(error: Exception) -> tuple[int, object, tuple[tuple[bytes, bytes], ...]]:
    if isinstance(error, InvalidInputError):
        return 422, error.problems, ()
    if isinstance(error, RequestValidationError):
        return 422, problems(error.errors(), prefix=""), ()
    if isinstance(error, CallerGoneError):
        return 499, "The connection was closed before the reply", ()  # only metrics and log see it
    if isinstance(error, OverloadedError):
        return 503, f"{error}. Try again later", ((b"retry-after", b"%d" % BUSY_SECONDS),)
    if isinstance(error, TooManyRowsError):
        return 413, str(error), ()
    if isinstance(error, TabserveError):
        return 503, str(error), ((b"retry-after", b"%d" % RETRY_SECONDS),)
    if isinstance(error, HTTPException):
        headers = tuple((name.lower().encode(), value.encode()) for name, value in (error.headers or {}).items())
        return error.status_code, error.detail, headers
    return 500, INTERNAL_ERROR, ()
