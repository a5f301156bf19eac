"""HTTP/1.1 whose callers must send in time, on a bounded number of connections.

uvicorn waits for ever for the rest of a head or of a body, and takes any number of connections (measured: 100 slow
clients stay for ever). Here each connection is looked at once a second, which costs a request nothing.
"""

import asyncio
from enum import Enum, auto
from typing import Any, NamedTuple, cast

from tabserve.web.protocol import BoundedProtocol
from tabserve.web.refusals import BUSY_SECONDS

LIMITS_KEY = "connection_limits"
"""Where the application's lifespan puts the `ConnectionLimits` for the protocol."""

LOOK_SECONDS = 1.0
"""How long a connection isn't looked at, at most; less if a limit is shorter than four times that."""

_TIMED_OUT = b'{"detail":"The request did not arrive in time"}'
_FULL = b'{"detail":"All connections of the server are busy. Try again later"}'
_RETRY = b"Retry-After: %d\r\n" % BUSY_SECONDS


class ConnectionLimits(NamedTuple):
    """What a server allows its connections.

    Attributes:
        connections: how many may be open. If there is one more, the one is closed that has been sending a request for
            the longest, or that has been idle for the longest.
        head_seconds: how long the head of a request may take, the first one since the connection was opened. Also how
            long a caller may read nothing of its reply.
        body_seconds: how long a body may take; and a second more for each `body_rate` bytes that have come.
        body_rate: bytes per second.
    """

    connections: int
    head_seconds: float
    body_seconds: float
    body_rate: int


class Awaited(Enum):
    """What a connection waits for."""

    HEAD = auto()
    BODY = auto()
    REPLY = auto()
    NOTHING = auto()


class TimedProtocol(BoundedProtocol):
    """Closes a connection on which a request, or the reading of its reply, takes too long. A caller that has sent a
    part of a request gets 408. Without limits in the lifespan's state, nothing is limited.

    Attributes:
        awaited: what the connection waits for.
        since: since when, as the time of the event loop.
    """

    def __init__(self, *arguments: Any, app_state: dict[str, Any], **options: Any) -> None:
        super().__init__(*arguments, app_state=app_state, **options)
        self._limits: ConnectionLimits | None = app_state.get(LIMITS_KEY)
        self.awaited, self.since = Awaited.HEAD, self.loop.time()
        self._body_bytes = 0  # with the framing of chunks
        self._unsent, self._unsent_since = 0, 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        if self._limits:
            if len(self.connections) > self._limits.connections:
                self._make_room()
            self._look_later(self._limits)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.awaited is Awaited.NOTHING:
            self._wait_for(Awaited.HEAD)
        self._body_bytes += len(data)
        super().data_received(data)

    def check_head(self) -> None:
        super().check_head()
        self._wait_for(Awaited.BODY)
        self._body_bytes = self._received  # at most: the packet may hold a part of the head, too

    def expect_head(self) -> None:
        super().expect_head()
        has_reply = self.cycle is not None and self.cycle.response_complete
        self._wait_for(Awaited.NOTHING if has_reply else Awaited.REPLY)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.awaited is Awaited.REPLY and not self.pipeline:
            self._wait_for(Awaited.NOTHING)

    def drop(self) -> None:
        """Closes the connection at once."""
        if self.cycle:
            self.cycle.disconnected = True  # else the application might still write, which uvloop forbids
        self.transport.abort()

    def _wait_for(self, awaited: Awaited) -> None:
        self.awaited, self.since = awaited, self.loop.time()

    def _look_later(self, limits: ConnectionLimits) -> None:
        seconds = min(LOOK_SECONDS, limits.head_seconds / 4, limits.body_seconds / 4)
        self._timer = self.loop.call_later(seconds, self._look, limits)

    def _look(self, limits: ConnectionLimits) -> None:
        """Closes the connection if it has waited too long."""
        if self.transport.is_closing() and not self.transport.get_write_buffer_size():
            return
        if self._is_stalled(limits):
            self.drop()
        elif self.transport.is_closing() or self.loop.time() - self.since <= self._patience(limits):
            self._look_later(limits)
        elif self.awaited is Awaited.NOTHING or not (self._head_bytes or self.awaited is Awaited.BODY):
            self.transport.close()
        else:
            self._refuse_late_request()
            self._look_later(limits)  # until the reply is read

    def _patience(self, limits: ConnectionLimits) -> float:
        """For how many seconds the connection may wait for what it waits for."""
        if self.awaited is Awaited.HEAD:
            return limits.head_seconds
        if self.awaited is Awaited.BODY:
            return limits.body_seconds + self._body_bytes / limits.body_rate
        return float(self.timeout_keep_alive) if self.awaited is Awaited.NOTHING else float("inf")

    def _is_stalled(self, limits: ConnectionLimits) -> bool:
        """Whether the caller has read nothing of what was sent to it for too long."""
        unsent, now = self.transport.get_write_buffer_size(), self.loop.time()
        if not unsent or unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        return now - self._unsent_since > limits.head_seconds

    def _refuse_late_request(self) -> None:
        """Sends 408, unless the reply to another request, or a part of this one's, comes first."""
        cycle = self.cycle
        is_own = self.awaited is Awaited.BODY and cycle is not None and not cycle.response_started
        if not self.pipeline and (cycle is None or cycle.response_complete or is_own):
            self.send_last(b"408 Request Timeout", _TIMED_OUT)
        else:
            self.transport.close()

    def _make_room(self) -> None:
        """Closes the connection whose request has been incomplete for the longest. If there is none, the one that has
        been idle for the longest; if all are busy, this one gets 503."""
        others = [
            other
            for other in self.connections
            if isinstance(other, TimedProtocol) and other is not self and not other.transport.is_closing()
        ]
        for kinds in ((Awaited.HEAD, Awaited.BODY), (Awaited.NOTHING,)):
            candidates = [other for other in others if other.awaited in kinds]
            if candidates:
                min(candidates, key=lambda other: other.since).drop()
                return
        self.send_last(b"503 Service Unavailable", _FULL, _RETRY)
