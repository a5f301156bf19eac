"""Around every request under ASGI: a context, admission, one count, one line in the log, and a reply even to our
bugs."""

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tabserve.monitoring import Metrics
from tabserve.web.context import RequestContext
from tabserve.web.cors import Cors
from tabserve.web.methods import send_no_content
from tabserve.web.pipeline import Pipeline
from tabserve.web.refusals import Reply, refusal

CONTEXT = "context"
"""Where the scope's state has the `RequestContext`."""

BEGAN = "began"
"""Where the scope's state has the time at which the first byte of a request arrived, if the server tells it."""


class RequestMiddleware:
    """Plain ASGI, the outermost. Puts the `RequestContext` into the scope's state and its id on every reply, and what
    `cors` says. A preflight is answered before admission, because a browser sends it without the caller's key."""

    def __init__(
        self, app: ASGIApp, pipeline: Pipeline, metrics: Metrics, cors: Cors | None, is_route: Callable[[str], bool]
    ) -> None:
        self._app, self._pipeline, self._service = app, pipeline, metrics.service
        self._cors, self._is_route = cors, is_route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        peer = scope.get("client")
        path = self._pipeline.proxies.rewrite(scope, self._is_route)
        context = RequestContext(scope["method"], path, scope["headers"], state.get(BEGAN), peer)
        state[CONTEXT] = context
        status = 0
        self._service.in_flight += 1

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                more = self._cors.headers(context.headers) if self._cors else ()
                own = (b"x-request-id", context.request_id.encode())
                message["headers"] = [*message.get("headers", ()), *more, own]
            await send(message)

        try:
            preflight = self._cors and self._cors.preflight(context.method, context.headers)
            if preflight:
                await send_no_content(send_with_id, preflight)
                return
            refused = self._pipeline.admit(context)
            if refused:
                await send_reply(send_with_id, refused)
            else:
                await self._app(scope, receive, send_with_id)
        except Exception as error:
            reply = refusal(error, context)
            if status:
                raise  # the reply has begun: the server can only break the connection
            await send_reply(send_with_id, reply)
        finally:
            self._service.in_flight -= 1
            self._pipeline.finish(context, getattr(scope.get("route"), "path", context.route), status)


async def send_reply(send: Send, reply: Reply) -> None:
    """Sends a reply under ASGI."""
    headers = [
        (b"content-type", reply.media_type.encode()),
        (b"content-length", b"%d" % len(reply.body)),
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
