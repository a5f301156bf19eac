"""The short ways of `POST /predict` and `/predict/batch`, past the framework.

Only what is answered with 200 goes them: a body of a known type and within the limit, valid, with a model to answer it.
Everything else, every refusal first of all, is handed on as if nobody had looked, and the route answers it: one place
refuses, and one documents.

A single row goes from HTTP's parser straight to the model and back onto the wire, if its connection has nothing else
under way. What is skipped is ASGI: the task, the messages, the stack of wrappers, the matching of routes. For such a
request they decide nothing, for the parser has already said where it goes, and its answer is computed without waiting
for anything. Under another server than api.py's it takes the route. A batch is waited for, so it stays within ASGI and
skips only FastAPI's part of it.

What isn't skipped: validation (the same code and the same model of the body), the request id, the counters, the limits,
the log, and that a prediction is remembered once its reply has been encoded.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tabserve.inference.predict import predict
from tabserve.model.predictor import Predictor
from tabserve.model.schema import Schema
from tabserve.monitoring.metrics import Metrics
from tabserve.serving.service import Service
from tabserve.web.batches import MEDIA_TYPES, Batches
from tabserve.web.codecs import json_codec
from tabserve.web.middleware import BEGAN, CALLER, count, id_from
from tabserve.web.protocol import BoundedProtocol

PATH = "/predict"
BATCH_PATH = "/predict/batch"


class FastPredict:
    """Answers what can be answered at once."""

    def __init__(
        self, service: Service, metrics: Metrics, requests: Callable[[Schema], json_codec.Requests], limit: int
    ) -> None:
        self._service, self._metrics, self._requests, self.limit = service, metrics, requests, limit
        self._prepared: tuple[Predictor, Callable[[bytes], json_codec.Record]] | None = None
        self._replies: list[tuple[asyncio.Transport, bytes]] = []

    def answer(self, headers: Sequence[tuple[bytes, bytes]], body: bytes, began: float) -> tuple[bytes, bytes] | None:
        """The request id and the reply's body; None for what must take the route, and then nothing has been done.

        `began`: `time.perf_counter()` when the head was complete.
        """
        started = time.perf_counter()
        state = self._service.state()
        live = state.live
        if live is None or _first(headers, b"content-type") != b"application/json":
            return None
        if self._prepared is None or self._prepared[0] is not live.predictor:
            self._prepared = live.predictor, self._requests(live.predictor.schema).parse
        predictor, parse = self._prepared
        try:
            if state.share:
                predictor = state.answering(_first(headers, CALLER)).predictor
            prediction = predict(predictor, parse(body), started)
            reply = json_codec.encode_prediction(prediction)
        except Exception:  # noqa: BLE001 the route does it all again, and refuses or reports whatever fails
            return None
        self._service.record(prediction)
        request_id = id_from(headers)
        count(self._metrics, "POST", PATH, PATH, 200, time.perf_counter() - began, request_id)
        return request_id.encode(), reply

    def send(self, transport: asyncio.Transport, reply: bytes) -> None:
        """Sends a reply once all requests that have arrived together are answered. A packet that has to wake its
        receiver takes as long to send as an answer to compute (measured: 19 µs); so only the first of them has to."""
        if not self._replies:
            asyncio.get_running_loop().call_soon(self.flush)
        self._replies.append((transport, reply))

    def flush(self) -> None:
        """Sends what waits to be sent."""
        replies, self._replies = self._replies, []
        for transport, reply in replies:
            if not transport.is_closing():
                transport.write(reply)


class FastProtocol(BoundedProtocol):
    """HTTP/1.1 with the short way: a request that may go it is held until its body is there.

    A server makes one for each connection; `protocol_around` says whose answers they give.
    """

    _fast: FastPredict

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._held: bytearray | None = None
        self._began = 0.0
        self._head_of: object = None
        self._head = b""
        self._idle = False
        self._idle_since = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None

    def on_message_begin(self) -> None:
        # no scope yet: on the short way nobody reads it
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._idle = False

    def on_headers_complete(self) -> None:
        if (
            self.url == PATH.encode()
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and (self.cycle is None or self.cycle.response_complete)
            and not (self.expect_100_continue or self.flow.write_paused or self.root_path or self._stopping)
            and not self.transport.is_closing()
        ):
            self.check_head()
            self._held, self._began = bytearray(), time.perf_counter()
        else:
            self._take_the_route()

    def on_body(self, body: bytes) -> None:
        if self._held is None:
            super().on_body(body)
        else:
            self._held += body
            if len(self._held) > self._fast.limit:
                self._hand_on()

    def on_message_complete(self) -> None:
        answered = None if self._held is None else self._fast.answer(self.headers, bytes(self._held), self._began)
        if answered:
            self._held = None
            self.expect_head()
            self._write(*answered)
            self.server_state.total_requests += 1
            self._wait_for_another()
        else:
            self._hand_on()
            super().on_message_complete()

    def shutdown(self) -> None:
        self._hand_on()
        super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        self._hand_on()
        if self._idle_timer:
            self._idle_timer.cancel()
        super().connection_lost(exc)

    def _hand_on(self) -> None:
        """Does what was not done when a request was held, if one is."""
        body, self._held = self._held, None
        if body is not None:
            self._take_the_route()
            self.scope["state"][BEGAN] = self._began
            if body:
                super().on_body(bytes(body))

    def _take_the_route(self) -> None:
        url, headers, expect_100_continue = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expect_100_continue
        self.scope["headers"] = headers
        super().on_headers_complete()

    def _wait_for_another(self) -> None:
        """Closes the connection if nothing begins in time. uvicorn sets a timer behind every reply and cancels it with
        the next request; here one runs on, and looks when it is due."""
        self._idle, self._idle_since = True, self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)

    def _close_if_idle(self) -> None:
        self._idle_timer = None
        if self._idle and not self.transport.is_closing():
            rest = self._idle_since + self.timeout_keep_alive - self.loop.time()
            if rest > 0:
                self._idle_timer = self.loop.call_later(rest, self._close_if_idle)
            else:
                self.transport.close()

    def _write(self, request_id: bytes, reply: bytes) -> None:
        headers = self.server_state.default_headers
        if headers is not self._head_of:  # uvicorn makes a new list each second, for the date
            fixed = b"".join(b"%b: %b\r\n" % header for header in [*headers, (b"content-type", b"application/json")])
            self._head_of, self._head = headers, b"HTTP/1.1 200 OK\r\n" + fixed
        whole = b"%bcontent-length: %d\r\nx-request-id: %b\r\n\r\n%b" % (self._head, len(reply), request_id, reply)
        self._fast.send(self.transport, whole)


class FastBatch:
    """Plain ASGI, outermost: answers `POST /predict/batch` before it is routed, and hands on what it can't answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics, batches: Batches, limit: int) -> None:
        self._app, self._metrics, self._batches, self._limit = app, metrics, batches, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != BATCH_PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        media_type, length = _first(scope["headers"], b"content-type"), _first(scope["headers"], b"content-length")
        if media_type not in _MEDIA_TYPES or not length.isdigit() or int(length[:20]) > self._limit:
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})[BEGAN] = began
        body, message = bytearray(), await receive()
        while message.get("more_body"):
            body += message["body"]
            message = await receive()
        body += message.get("body", b"")
        whole = bytes(body)
        try:
            if message["type"] != "http.request":
                raise ConnectionError("the caller is gone")
            reply = await self._batches.answer(whole, media_type.decode(), explain=False)
        except Exception:  # noqa: BLE001 the route does it all again, and refuses or reports whatever fails
            if message["type"] == "http.request":
                message = {"type": "http.request", "body": whole, "more_body": False}
            replayed = iter([message])

            async def again() -> Message:
                return next(replayed, None) or await receive()

            await self._app(scope, again, send)
            return
        request_id = id_from(scope["headers"])
        count(self._metrics, "POST", BATCH_PATH, BATCH_PATH, 200, time.perf_counter() - began, request_id)
        headers = [
            (b"content-type", media_type), (b"content-length", b"%d" % len(reply)),
            (b"x-request-id", request_id.encode()),
        ]  # fmt: skip
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": reply})


_MEDIA_TYPES = {media_type.encode() for media_type in MEDIA_TYPES}


def _first(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes:
    for name, value in headers:  # half as long as by a generator
        if name == wanted:
            return value
    return b""


def protocol_around(fast: FastPredict) -> type[FastProtocol]:
    """The protocol for a server of the application that `fast` belongs to."""

    class Protocol(FastProtocol):
        _fast = fast

    return Protocol
