"""CORS: which web pages of other origins a browser lets call the service. Off, unless origins are set.

Credentials are never allowed: the service knows no cookies, and keys come in headers that the page itself sets.
"""

import re
from collections.abc import Collection

from tabserve.web.context import HeaderList, Headers, header

MAX_AGE = 600
"""For how many seconds a browser may remember the answer to a preflight."""

ANY_ORIGIN = "*"

_HEADER_NAMES = re.compile(rb"[A-Za-z0-9_, -]{1,1000}")


class Cors:
    """What the replies to web pages of these origins have. It promises nothing about other clients than browsers."""

    def __init__(self, origins: Collection[str]) -> None:
        self._any = ANY_ORIGIN in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    def headers(self, request: Headers) -> HeaderList:
        """For the reply to a request with these headers."""
        if self._any:
            return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", b"*")]
        origin = header(request, b"origin")
        vary = (b"vary", b"Origin")
        if origin not in self._origins:
            return [vary]
        return [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", b"*"), vary]

    def preflight(self, method: str, request: Headers) -> HeaderList | None:
        """For the reply to a preflight; None if this isn't one. `headers` comes in addition, and says whether the
        origin may call."""
        if (
            method != "OPTIONS"
            or not header(request, b"origin")
            or not header(request, b"access-control-request-method")
        ):
            return None
        lines = [
            (b"access-control-allow-methods", b"GET, HEAD, POST, OPTIONS"),
            (b"access-control-max-age", b"%d" % MAX_AGE),
        ]
        names = header(request, b"access-control-request-headers")
        if _HEADER_NAMES.fullmatch(names):
            lines.append((b"access-control-allow-headers", names))
        return lines
