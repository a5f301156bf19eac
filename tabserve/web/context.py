"""What the web package knows of a request besides its body."""

import random
import re
import time
from collections.abc import Iterable, Sequence

Headers = Sequence[tuple[bytes, bytes]]
"""Raw headers, with their names in lower case."""

Peer = tuple[str, int] | None
"""Address and port of the other end of a connection; None on a unix socket."""

HeaderList = list[tuple[bytes, bytes]]
"""Headers of a reply."""

CALLER = b"x-caller-key"
"""The header in which callers name themselves. The same caller always gets the same model."""

UNMATCHED = "unmatched"
"""The route of a request that no route matches."""

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


class RequestContext:
    """One request, as every step of the pipeline sees it.

    Attributes:
        method, path: as in the request line.
        headers: raw.
        peer: the other end of the connection. `Proxies.client_address` says who the client is.
        began: `time.perf_counter()` when the first byte of the request arrived; under another protocol than
            `FastProtocol` when its head was complete.
        request_id: in the `X-Request-ID` of the reply, in error bodies and in the log.
        route: the route's template, for metrics and log.
        quiet: a failure isn't worth a warning in the log.
        is_gone: the caller has closed the connection.
    """

    __slots__ = ("began", "headers", "is_gone", "method", "path", "peer", "quiet", "request_id", "route")

    def __init__(self, method: str, path: str, headers: Headers, began: float | None = None, peer: Peer = None) -> None:
        self.method, self.path, self.headers, self.peer = method, path, headers, peer
        self.began = began or time.perf_counter()
        self.request_id = _request_id(headers)
        self.route, self.quiet, self.is_gone = UNMATCHED, False, False

    @property
    def caller(self) -> bytes:
        """The caller's name for itself; empty if it gives none."""
        return header(self.headers, CALLER)


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes:
    """The first header of this name, which is in lower case; empty if there is none."""
    for key, value in headers:  # half the time of a generator expression
        if key == name:
            return value
    return b""


def _request_id(headers: Headers) -> str:
    """The caller's id if it is one sane word, else a new one."""
    sent = header(headers, b"x-request-id")
    if sent:
        request_id = sent.decode("latin-1")
        if _SANE_ID.fullmatch(request_id):
            return request_id
    return f"{random.getrandbits(128):032x}"  # a third of the time of os.urandom; it guards no secret
