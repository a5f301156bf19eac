"""What HTTP itself is held to, before there is a request: a bounded head, no upgrade to anything else, and an end that
loses nothing.

uvicorn's httptools protocol bounds no header (measured: 1.4 GB from one connection), and drops the body of a request
that offers an upgrade, as Java's HTTP client does with h2c on its first one. At a stop it closes every connection that
has nothing under way at once, and resets what is on its way there (measured: a request on each of 32 busy ones).
"""

import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers together."""

GRACE = 0.5
"""Seconds after the begin of a stop in which a request that is on its way may still arrive."""

_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
_IGNORED = b"\r\nIgnored:"

_TOO_LARGE = b'{"detail":"The headers are larger than 65536 bytes"}'


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it, with a head of at most `MAX_HEAD_BYTES`: a larger one gets 431 and is cut off.

    At a stop a connection gets one more reply, to what is under way or arrives within `GRACE`, which says that it is
    the last.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._in_head, self._head_bytes, self._trailer_bytes, self._received = True, 0, 0, 0
        self._stopping = False

    def data_received(self, data: bytes) -> None:
        self._received = len(data)
        if self._in_head:
            self._head_bytes += len(data)
            if b"\r\nupgrade:" in data.lower():
                # RFC 9110, 7.8: a server may ignore the offer. Of equal length, for the parser counts
                data = _UPGRADE.sub(_IGNORED, data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # as uvicorn does it, without a call more for each header
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))
        else:  # a trailer: behind the body, read by nobody, and as bounded as the head
            self._trailer_bytes += len(name) + len(value) + 4
            if self._trailer_bytes > MAX_HEAD_BYTES:
                raise ValueError("the trailers are too large")

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.expect_head()

    def expect_head(self) -> None:
        """What comes now is the head of another request."""
        self._in_head, self._head_bytes, self._trailer_bytes = True, 0, 0

    def on_headers_complete(self) -> None:
        self.check_head()
        super().on_headers_complete()
        if self._stopping:
            self.cycle.keep_alive = False  # uvicorn says so in the reply, and closes the connection behind it

    def shutdown(self) -> None:
        self._stopping = True
        # uvicorn lets the reply to what is under way say that it is the last; nothing, or what has begun, can't say it
        if self.cycle is None or self.cycle.response_started:
            self.loop.call_later(GRACE, super().shutdown)
        else:
            super().shutdown()

    def check_head(self) -> None:
        """Raises ValueError for a head that is too large: the parser stops, and uvicorn calls send_400_response."""
        self._in_head = False
        # it is no larger than what came before this packet and the packet, which may hold other requests too
        if self._head_bytes + self._received > MAX_HEAD_BYTES:
            # four bytes of each header are colon, blank and line end
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > MAX_HEAD_BYTES:
                raise ValueError("the head is too large")

    def send_400_response(self, msg: str) -> None:
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse()
        else:
            super().send_400_response(msg)

    def _refuse(self) -> None:
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(_TOO_LARGE), _TOO_LARGE)
        )
        self.transport.close()
