"""The methods of every route: `HEAD` wherever `GET` is, `OPTIONS`, and an `Allow` that names them all.

FastAPI gives a route only the methods that it was declared with, and answers `OPTIONS` with 405. Health checks of
proxies use both methods: HAProxy's default is `OPTIONS /`.
"""

from collections.abc import Sequence

from starlette.routing import BaseRoute, Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tabserve.web.context import HeaderList

DECLARED = ("GET", "POST", "PUT", "PATCH", "DELETE")
"""The methods that a route may be declared with, in the order of `Allow`."""

EVERY_METHOD = b"GET, HEAD, POST, OPTIONS"
"""What `OPTIONS *` answers: the methods that some route takes."""


class Methods:
    """Plain ASGI, in front of the routes."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._app, self._routes = app, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        requested = dict(scope)  # the router changes the scope
        if method == "OPTIONS" and (allowed := self._allowed(requested)):
            await send_no_content(send, [(b"allow", allowed)])
            return
        # a copy, because the server has to see that it is HEAD
        inner = {**scope, "method": "GET"} if method == "HEAD" else scope

        async def send_adapted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 405:
                others = [line for line in message["headers"] if line[0] != b"allow"]
                message["headers"] = [*others, (b"allow", self._allowed(requested))]
            elif message["type"] == "http.response.body" and method == "HEAD":
                message["body"] = b""
            await send(message)

        try:
            await self._app(inner, receive, send_adapted)
        finally:
            if "route" in inner:
                scope["route"] = inner["route"]

    def _allowed(self, scope: Scope) -> bytes:
        """The methods that this path takes, as in `Allow`; empty if there is no such path."""
        if scope["path"] == "*":
            return EVERY_METHOD
        methods = [method for method in DECLARED if any(_takes(route, scope, method) for route in self._routes)]
        if "GET" in methods:
            methods.insert(1, "HEAD")
        return ", ".join([*methods, "OPTIONS"]).encode() if methods else b""


def is_route(path: str, routes: Sequence[BaseRoute]) -> bool:
    """Whether a route has this path, with any method."""
    scope = {"type": "http", "path": path, "root_path": "", "method": "GET", "headers": []}
    return any(route.matches(scope)[0] is not Match.NONE for route in routes)


def _takes(route: BaseRoute, scope: Scope, method: str) -> bool:
    if isinstance(route, Mount) and method != "GET":  # it matches every method; its files can only be read
        return False
    return route.matches({**scope, "method": method})[0] is Match.FULL


async def send_no_content(send: Send, headers: HeaderList) -> None:
    """Sends a reply without a body under ASGI."""
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
