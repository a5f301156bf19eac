"""What a request must keep to before anything else looks at it: content type and size. Says so in HTTP's own words."""

import re

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json\s*(?:;\s*charset=\"?utf-8\"?\s*)?", re.IGNORECASE)


async def read_json_body(request: Request, limit: int) -> bytes:
    """The body, of at most `limit` bytes counted as they arrive.

    Raises:
        HTTPException: 415 for a content type that isn't JSON, 413 for a longer body, 400 if the caller goes away.
    """
    content_type = request.headers.get("content-type", "")
    if not _JSON.fullmatch(content_type.strip()):
        raise HTTPException(415, "Send JSON, with the header 'Content-Type: application/json'")
    # the connection is closed with the refusal: what still comes on it is body, not the next request
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
    except ClientDisconnect:
        raise HTTPException(400, "The connection was closed before the body was complete") from None
    return bytes(body)
