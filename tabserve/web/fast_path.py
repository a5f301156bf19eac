"""The fast path of `POST /predict`, which bypasses ASGI.

A request goes from the HTTP parser straight to the pipeline and back onto the wire, if nothing else is under way on its
connection. ASGI would add a task, messages, wrappers and routing, which decide nothing for such a request: the parser
already knows where it goes, and its reply is computed without waiting. Everything else takes the route: other content
types, bodies that are too large, pipelined requests, HTTP/1.0. Under another protocol than `FastProtocol` every request
takes the route.

A head that was parsed once needs no parser when the same bytes come again, and the callers of a service send the same
few heads all the time.
"""

import asyncio
import time
from http import HTTPStatus
from typing import Any, NamedTuple

from tabserve.web.codecs import JSON
from tabserve.web.context import Headers, RequestContext, header
from tabserve.web.cors import Cors
from tabserve.web.middleware import BEGAN
from tabserve.web.pipeline import ONE_ROW, Pipeline
from tabserve.web.refusals import Reply
from tabserve.web.timed_protocol import Awaited, TimedProtocol

PATH = "/predict"
_JSON = JSON.encode()

MAX_KNOWN_HEADS, MAX_KNOWN_HEAD_BYTES = 256, 2048
"""How many heads are known at a time, and how long one may be."""

MAX_WAITING = 64
"""How many replies wait at most, so that callers have something to do while the next ones are computed."""

LIFESPAN_KEY = "fast_path"
"""Where the application's lifespan puts its `FastPath` for the protocol."""


class KnownHead(NamedTuple):
    """What the parser made of a head that took the fast path."""

    headers: Headers
    body_bytes: int


class FastPath:
    """What the connections of one server share: the pipeline, the body limit, the heads that are known, and the replies
    that wait to be sent."""

    def __init__(self, pipeline: Pipeline, max_body_bytes: int, cors: Cors | None = None, prefix: str = "") -> None:
        self.pipeline, self.max_body_bytes, self._cors = pipeline, max_body_bytes, cors
        self.known_heads: dict[bytes, KnownHead] = {}
        # with the path prefix, too: a proxy may have left it in the path
        self.urls = frozenset((PATH.encode(), (prefix + PATH).encode()))
        self._waiting: list[tuple[asyncio.Transport, bytes, RequestContext, int]] = []

    def respond(self, context: RequestContext, body: bytes) -> Reply:
        """The reply to a complete request."""
        reply = self.pipeline.admit(context) or self.pipeline.respond(ONE_ROW, context, body)
        if self._cors:
            return reply._replace(headers=(*reply.headers, *self._cors.headers(context.headers)))
        return reply

    def remember(self, head: bytes, known: KnownHead) -> None:
        """The next time these bytes come, they need no parser. The other heads are forgotten if there are too many."""
        if len(head) <= MAX_KNOWN_HEAD_BYTES:
            if len(self.known_heads) >= MAX_KNOWN_HEADS:
                self.known_heads.clear()
            self.known_heads[head] = known

    def send(self, transport: asyncio.Transport, reply: bytes, context: RequestContext, status: int) -> None:
        """Sends a reply after all requests that arrived together are answered, and counts its request then. A packet
        that wakes its receiver takes as long to send as a reply to compute (measured: 19 µs); this way only the first
        packet wakes anyone."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append((transport, reply, context, status))
        if len(self._waiting) >= MAX_WAITING:
            self._flush()

    def _flush(self) -> None:
        replies, self._waiting = self._waiting, []
        for transport, reply, context, status in replies:
            if not transport.is_closing():
                transport.write(reply)
            self.pipeline.finish(context, PATH, status)


class FastProtocol(TimedProtocol):
    """HTTP/1.1 with the fast path. A request that may take it is held until its body is complete.

    uvicorn makes one for each connection. It gets its `FastPath` from the state of the application's lifespan; without
    one, every request takes the route.
    """

    def __init__(self, *arguments: Any, app_state: dict[str, Any], **options: Any) -> None:
        super().__init__(*arguments, app_state=app_state, **options)
        self._fast_path: FastPath | None = app_state.get(LIFESPAN_KEY)
        self._held: bytearray | None = None
        self._packet = b""  # what the parser is given, if it begins with the head of a request
        self._began = 0.0
        self._default_headers: object = None
        self._head = b""
        self._is_idle = False

    def data_received(self, data: bytes) -> None:
        # while the connection is idle, the parser is between two requests, and doesn't notice if one passes it by
        if self._is_idle and self._fast_path:
            length = data.find(b"\r\n\r\n") + 4
            known = self._fast_path.known_heads.get(data[:length])
            if (
                known
                and len(data) == length + known.body_bytes
                and not (self._stopping or self.flow.write_paused or self.transport.is_closing())
            ):
                self._began = time.perf_counter()
                self._answer(self._fast_path, known.headers, data[length:])
                return
        self._packet = data if self._is_idle else b""
        super().data_received(data)
        self._packet = b""

    def on_message_begin(self) -> None:
        # uvicorn would make the ASGI scope here, which the fast path doesn't need
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._is_idle, self._began = False, time.perf_counter()

    def on_headers_complete(self) -> None:
        if (
            self._fast_path
            and self.url in self._fast_path.urls
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and not self.parser.should_upgrade()
            and (self.cycle is None or self.cycle.response_complete)
            and not (self.expect_100_continue or self.flow.write_paused or self.root_path or self._stopping)
            and not self.transport.is_closing()
            and header(self.headers, b"content-type") == _JSON
            and not header(self.headers, b"content-encoding")
        ):
            self.check_head()
            self._held = bytearray()
        else:
            self._take_route()

    def on_body(self, body: bytes) -> None:
        if self._held is None or self._fast_path is None:
            super().on_body(body)
        else:
            self._held += body
            if len(self._held) > self._fast_path.max_body_bytes:
                self._hand_over()

    def on_message_complete(self) -> None:
        if self._held is None or self._fast_path is None:
            super().on_message_complete()
            return
        body, self._held = bytes(self._held), None
        self.expect_head()
        self._answer(self._fast_path, self.headers, body)
        head, separator, rest = self._packet.partition(b"\r\n\r\n")
        if separator and rest == body:  # it was this request and nothing else, with its body as it is, not in chunks
            self._fast_path.remember(head + separator, KnownHead(self.headers, len(body)))

    def shutdown(self) -> None:
        self._hand_over()
        super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        self._hand_over()
        super().connection_lost(exc)

    def _answer(self, fast_path: FastPath, headers: Headers, body: bytes) -> None:
        context = RequestContext("POST", PATH, headers, self._began, self.client)
        reply = fast_path.respond(context, body)
        fast_path.send(self.transport, self._encoded(reply, context.request_id), context, reply.status)
        self.server_state.total_requests += 1
        self._is_idle, self.awaited, self.since = True, Awaited.NOTHING, self.loop.time()

    def _hand_over(self) -> None:
        """Sends a held request on the route, with what has arrived of its body."""
        body, self._held = self._held, None
        if body is not None:
            self._take_route()
            if body:
                super().on_body(bytes(body))

    def _take_route(self) -> None:
        url, headers, expect_100_continue = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expect_100_continue
        self.scope["headers"] = headers
        self.scope["state"][BEGAN] = self._began
        super().on_headers_complete()

    def _encoded(self, reply: Reply, request_id: str) -> bytes:
        """The reply as HTTP/1.1."""
        default_headers = self.server_state.default_headers
        if default_headers is not self._default_headers:  # uvicorn makes a new list each second, for the date
            self._default_headers = default_headers
            self._head = b"".join(b"%b: %b\r\n" % line for line in [*default_headers, (b"content-type", _JSON)])
        status, more = b"200 OK", b""
        if reply.status != 200:
            status = b"%d %b" % (reply.status, HTTPStatus(reply.status).phrase.encode())
        if reply.headers:
            more = b"".join(b"%b: %b\r\n" % line for line in reply.headers)
        return b"HTTP/1.1 %b\r\n%b%bcontent-length: %d\r\nx-request-id: %b\r\n\r\n%b" % (
            status, self._head, more, len(reply.body), request_id.encode(), reply.body,
        )  # fmt: skip
