"""A closed loop of HTTP/1.1 requests: each connection sends its next request when the last one is answered.

One process on one core, with epoll. A request costs this client less than it costs the measured server. Linux only.
"""

import select
import socket
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

HOST = "127.0.0.1"

CHUNKED, LAST_CHUNK = b"transfer-encoding: chunked", b"\r\n0\r\n\r\n"


@dataclass(frozen=True)
class Load:
    """What one load measured: requests per second, and the latency's median and 99th percentile in seconds."""

    throughput: float
    p50: float
    p99: float


def request(path: str, body: bytes, content_type: str = "application/json") -> bytes:
    """A POST as bytes on the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nAccept: */*\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Connection:
    """A connection with at most one request in flight."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received: list[bytes] = []
        self._missing = -1

    def exchange(self, request_bytes: bytes) -> bytes:
        """Sends the request and waits for the complete reply."""
        self.socket.sendall(request_bytes)
        while (reply := self.receive()) is None:
            pass
        return reply

    def receive(self) -> bytes | None:
        """Reads once from the socket. Returns the reply when it is complete, else None.

        Raises:
            RuntimeError: the status isn't 200, or the reply ends too early.
        """
        data = self.socket.recv(2**20)
        if not data and self._received:
            raise RuntimeError(f"the server closed the connection in the middle of {self._received[0][:500]!r}")
        self._received.append(data)
        if self._missing < 0:
            head, separator, body = b"".join(self._received).partition(b"\r\n\r\n")
            if not data or not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"the server answered {head[:500]!r}")
            if not separator or (CHUNKED in head and not body.endswith(LAST_CHUNK)):
                return None
            if CHUNKED not in head:
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                self._missing = int(length) - len(body)
        else:
            self._missing -= len(data)
        if self._missing > 0:
            return None
        reply, self._received, self._missing = b"".join(self._received), [], -1
        return reply


def content(reply: bytes) -> bytes:
    """The body of a reply, without its chunks' sizes."""
    head, _, body = reply.partition(b"\r\n\r\n")
    if CHUNKED not in head:
        return body
    chunks = []
    while body:
        size, _, body = body.partition(b"\r\n")
        chunks.append(body[: int(size, 16)])
        body = body[int(size, 16) + 2 :]
    return b"".join(chunks)


def run(port: int, connections: int, seconds: float, requests: Sequence[bytes]) -> Load:
    """Sends the requests in turn, again and again, for this many seconds and until at least two are answered."""
    by_descriptor = {
        connection.socket.fileno(): connection for connection in (Connection(port) for _ in range(connections))
    }
    poll = select.epoll()
    sent_at: dict[int, float] = {}
    for number, (descriptor, connection) in enumerate(by_descriptor.items()):
        poll.register(descriptor, select.EPOLLIN)
        sent_at[descriptor] = time.perf_counter()
        connection.socket.sendall(requests[number % len(requests)])
    latencies: list[float] = []
    number, count = connections, len(requests)
    started = now = time.perf_counter()
    while now < started + seconds or len(latencies) < 2:
        for descriptor, _ in poll.poll(10):
            connection = by_descriptor[descriptor]
            if connection.receive() is not None:
                now = time.perf_counter()
                latencies.append(now - sent_at[descriptor])
                sent_at[descriptor] = now
                connection.socket.sendall(requests[number % count])
                number += 1
    for connection in by_descriptor.values():
        connection.socket.close()
    poll.close()
    percentiles = statistics.quantiles(latencies, n=100)
    return Load(len(latencies) / (now - started), percentiles[49], percentiles[98])
