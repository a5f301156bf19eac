"""A closed loop of HTTP/1.1 requests over as many connections as wanted: each sends its next one when it is answered.

One process, one core, epoll: a request costs it less than it costs the server that is measured. Linux only.
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
    """What came of it: requests a second, and latencies in seconds."""

    throughput: float
    p50: float
    p99: float


def request(path: str, body: bytes, content_type: str = "application/json") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nAccept: */*\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Connection:
    """A connection that takes one request at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received: list[bytes] = []
        self._missing = -1

    def exchange(self, sent: bytes) -> bytes:
        """The whole reply, awaited."""
        self.socket.sendall(sent)
        while (reply := self.receive()) is None:
            pass
        return reply

    def receive(self) -> bytes | None:
        """Takes what has arrived. The whole reply once it is complete.

        Raises:
            RuntimeError: its status isn't 200, or it ends too early.
        """
        data = self.socket.recv(2**20)
        if not data and self._received:
            raise RuntimeError(f"the server closed the connection in the middle of {self._received[0][:500]!r}")
        self._received.append(data)
        if self._missing < 0:
            head, there, rest = b"".join(self._received).partition(b"\r\n\r\n")
            if not data or not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"the server answered {head[:500]!r}")
            if not there or (CHUNKED in head and not rest.endswith(LAST_CHUNK)):
                return None
            if CHUNKED not in head:
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                self._missing = int(length) - len(rest)
        else:
            self._missing -= len(data)
        if self._missing > 0:
            return None
        reply, self._received, self._missing = b"".join(self._received), [], -1
        return reply


def content(reply: bytes) -> bytes:
    """The body of a reply."""
    head, _, rest = reply.partition(b"\r\n\r\n")
    if CHUNKED not in head:
        return rest
    chunks = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        chunks.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
    return b"".join(chunks)


def run(port: int, connections: int, seconds: float, requests: Sequence[bytes]) -> Load:
    """Sends the requests in turn, over and over, for so many seconds, until at least two are answered."""
    opened = {connection.socket.fileno(): connection for connection in (Connection(port) for _ in range(connections))}
    poll = select.epoll()
    sent: dict[int, float] = {}
    for number, (descriptor, connection) in enumerate(opened.items()):
        poll.register(descriptor, select.EPOLLIN)
        sent[descriptor] = time.perf_counter()
        connection.socket.sendall(requests[number % len(requests)])
    latencies: list[float] = []
    number, count = connections, len(requests)
    started = now = time.perf_counter()
    while now < started + seconds or len(latencies) < 2:
        for descriptor, _ in poll.poll(10):
            connection = opened[descriptor]
            if connection.receive() is not None:
                now = time.perf_counter()
                latencies.append(now - sent[descriptor])
                sent[descriptor] = now
                connection.socket.sendall(requests[number % count])
                number += 1
    for connection in opened.values():
        connection.socket.close()
    poll.close()
    cut = statistics.quantiles(latencies, n=100)
    return Load(len(latencies) / (now - started), cut[49], cut[98])
