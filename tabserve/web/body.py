"""Reads a request's body under ASGI. Refuses a wrong content type, a compressed body, and one that is too large."""

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
        HTTPException: 415 for another content type or a compressed body, 413 for a longer body.
        CallerGoneError: the caller closed the connection.
    """
    encoding = request.headers.get("content-encoding", "")
    if encoding.strip().lower() not in ("", "identity"):
        # not read: a small body may unpack to any size
        detail = f"The body is compressed ({encoding[:40]}): send it as it is, without the header Content-Encoding"
        raise HTTPException(415, detail, headers={"Accept-Encoding": "identity"})
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
