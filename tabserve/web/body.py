"""Reads the body of a request under ASGI, and refuses a wrong content type and a body that is too large."""

import re
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from tabserve.web.refusals import CallerGoneError

_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json\s*(?:;\s*charset=\"?utf-8\"?\s*)?", re.IGNORECASE)


def is_json(content_type: str) -> bool:
    return bool(_JSON.fullmatch(content_type.strip()))


async def read_body(request: Request, limit: int, *others: str, take: Callable[[int], None] = lambda _: None) -> bytes:
    """The body, of at most `limit` bytes, which are counted as they arrive. It may be JSON, or of one of the `others`.
    `take` is told how many bytes have come each time.

    Raises:
        HTTPException: 415 for another content type, 413 for a longer body.
        CallerGoneError: the caller closed the connection.
    """
    content_type = request.headers.get("content-type", "")
    if not is_json(content_type) and content_type not in others:
        alternatives = "".join(f", or {other}" for other in others)
        raise HTTPException(415, f"Send JSON, with the header 'Content-Type: application/json'{alternatives}")
    # the refusal closes the connection: what still arrives on it is body, not the next request
    too_large = HTTPException(413, f"The body is larger than {limit} bytes", headers={"Connection": "close"})
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise too_large
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise too_large
            take(len(chunk))
    except ClientDisconnect:
        raise CallerGoneError from None
    return bytes(body)
