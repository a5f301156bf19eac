"""Replies as responses of FastAPI, and the documentation that routes share."""

from datetime import UTC, datetime
from typing import Any

from fastapi import Response

from tabserve.web import schemas
from tabserve.web.codecs import JSON, encode
from tabserve.web.refusals import RETRY_SECONDS, Reply

RETRY = {"Retry-After": str(RETRY_SECONDS)}

UNAVAILABLE: dict[int | str, dict[str, Any]] = {
    503: {
        "model": schemas.ErrorReply,
        "description": "No model is loaded; `detail` says what to do.",
        "headers": {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}},
    }
}


def to_response(reply: Reply) -> Response:
    headers = {name.decode(): value.decode() for name, value in reply.headers}
    return Response(reply.body, reply.status, headers, reply.media_type)


def json_response(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(encode(content), status, headers, JSON)


def now() -> str:
    """The current time as ISO 8601, UTC, with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
