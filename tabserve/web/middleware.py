"""Around every request: an id, the time it took, one count, one line in the log, and a reply even to our own mistakes.

Plain ASGI, outermost. Knows no route; the router leaves the matched one in the scope.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tabserve.monitoring.metrics import Metrics

log = logging.getLogger("tabserve.web")

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")

UNMATCHED = "unmatched"
"""The route of a request that no route takes, in metrics and log."""

BEGAN = "began"
"""Where the scope's state has `time.perf_counter()` as it was when the request began, if somebody held it before."""

CALLER = b"x-caller-key"
"""Header by which callers tell who they are, where a challenger answers a share of them."""

ErrorReply = Callable[[str], bytes]
"""A request id → the body of the 500."""


class RequestMiddleware:
    """Gives `scope["state"]["request_id"]`, and the header `X-Request-ID` on every reply.

    The failure of a route that sets `request.state.quiet` isn't logged as one.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, internal_error: ErrorReply) -> None:
        self._app, self._metrics, self._internal_error = app, metrics, internal_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        started = state.get(BEGAN) or time.perf_counter()
        state["request_id"] = request_id = id_from(scope["headers"])
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            log.exception("a request failed by our own mistake", extra={"request_id": request_id})
            if status:
                raise  # the reply has begun: the server can only break the connection
            body = self._internal_error(request_id)
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send_with_id({"type": "http.response.start", "status": 500, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        finally:
            route = getattr(scope.get("route"), "path", UNMATCHED)
            quiet = bool(scope["state"].get("quiet"))
            seconds = time.perf_counter() - started
            count(self._metrics, scope["method"], scope["path"], route, status, seconds, request_id, quiet=quiet)


def count(
    metrics: Metrics, method: str, path: str, route: str, status: int, seconds: float, request_id: str, *,
    quiet: bool = False,
) -> None:  # fmt: skip
    """Counts a request and logs it: what failed as a warning unless it is `quiet`, the rest at debug level."""
    metrics.request(method, route, status, seconds)
    level = logging.DEBUG if quiet or status < 400 else logging.WARNING
    if log.isEnabledFor(level):
        where = {"method": method[:16], "path": path[:200], "status": status}
        log.log(level, "request", extra=where | {"ms": round(seconds * 1000, 2), "request_id": request_id})


def id_from(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The caller's id if it is one sane word, else a new one."""
    for name, value in headers:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            if _SANE_ID.fullmatch(given):
                return given
            break
    return os.urandom(16).hex()
