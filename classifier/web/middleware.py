"""Around every request: an id, the time it took, one count, one line in the log, and a reply even to our own mistakes.

Plain ASGI, outermost. Knows no route; the router leaves the matched one in the scope.
"""

import logging
import re
import time
import uuid
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from classifier.metrics import Metrics

log = logging.getLogger("classifier.web")

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")

UNMATCHED = "unmatched"
"""The route of a request that no route takes, in metrics and log."""

ErrorReply = Callable[[str], bytes]
"""A request id → the body of the 500."""


class RequestMiddleware:
    """Gives `scope["state"]["request_id"]`, and the header `X-Request-ID` on every reply.

    Logs what failed as a warning, the rest at debug level; a route that sets `request.state.quiet` is never a warning.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, internal_error: ErrorReply) -> None:
        self._app, self._metrics, self._internal_error = app, metrics, internal_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
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
            self._count(scope, status, time.perf_counter() - started, request_id)

    def _count(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        route = getattr(scope.get("route"), "path", UNMATCHED)
        self._metrics.request(scope["method"], route, status, seconds)
        quiet = status < 400 or scope["state"].get("quiet")
        level = logging.DEBUG if quiet else logging.WARNING
        if log.isEnabledFor(level):
            where = {"method": scope["method"][:16], "path": scope["path"][:200], "status": status}
            log.log(level, "request", extra=where | {"ms": round(seconds * 1000, 2), "request_id": request_id})


def _request_id(scope: Scope) -> str:
    """The caller's id if it is one sane word, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given: str = value.decode("latin-1")
            return given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex
    return uuid.uuid4().hex
