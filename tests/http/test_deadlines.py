"""Connections: a request that doesn't arrive in time, a reply that nobody reads, and too many connections."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from tabserve.model import Release
from tabserve.web.codecs import JSON
from tabserve.web.timed_protocol import Awaited, TimedProtocol
from tests.support.gate import Gate
from tests.support.models import ROW, SETTINGS
from tests.support.raw_http import BODY, post
from tests.support.servers import HOST, Server
from tests.support.sources import FakeSource
from tests.support.waiting import LIMIT, until

IMPATIENT = {"head_seconds": 0.2, "body_seconds": 0.2}
PARTS = {
    "line": b"POST /pre",
    "head": b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Ty",
    "row": post(BODY)[:-5],
    "batch": post(BODY).replace(b"/predict", b"/predict/batch")[:-5],
    "second request": post(BODY) + post(BODY)[:-5],
}


@pytest.fixture
def start(release: Release, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    """Starts a server with these settings."""
    with ExitStack() as stack:

        def running(**changes: object) -> Server:
            server = Server(FakeSource(release), monkeypatch, SETTINGS.model_copy(update=changes))
            return stack.enter_context(server.running())

        yield running


def connect(server: Server) -> socket.socket:
    return socket.create_connection((HOST, server.port), timeout=LIMIT)


def answers(server: Server) -> bool:
    with closing(connect(server)) as connection:
        connection.sendall(post(BODY))
        return connection.recv(100).startswith(b"HTTP/1.1 200 ")


def open_connections(server: Server) -> list[TimedProtocol]:
    connections = server.server.server_state.connections.copy()
    return [connection for connection in connections if isinstance(connection, TimedProtocol)]


def wait_for_a_later_time(server: Server) -> None:
    """Until the time of the event loop, in which connections are compared, has moved on."""
    latest = max(connection.since for connection in open_connections(server))
    until(lambda: all(connection.loop.time() > latest for connection in open_connections(server)))


@pytest.mark.parametrize("part", PARTS)
def test_request_that_is_not_whole_in_time_gets_408(start: Callable[..., Server], part: str) -> None:
    """A caller that stops within the line, the head or the body gets 408 in JSON, and the connection is closed."""
    server = start(**IMPATIENT)
    replies = server.send(PARTS[part])
    last = replies[replies.rindex(b"HTTP/1.1 ") :]
    assert last.startswith(b"HTTP/1.1 408 ")
    assert f"content-type: {JSON}".encode() in last.lower()
    assert replies.count(b"HTTP/1.1 200 ") == (part == "second request")
    assert answers(server)


def test_silent_connection_is_closed_without_a_reply(start: Callable[..., Server]) -> None:
    """A connection on which nothing is sent is closed; a caller that keeps one in store takes a 408 for a reply."""
    assert start(**IMPATIENT).send(b"") == b""


def test_body_that_comes_fast_enough_may_take_longer(start: Callable[..., Server]) -> None:
    """A body gets a second more for each so many bytes that have come, so that a large one has the time it needs."""
    server = start(**IMPATIENT, body_bytes_per_second=1)
    row = post(BODY)
    with closing(connect(server)) as connection:
        connection.sendall(row[:-5])
        until(lambda: server.send(PARTS["line"]).startswith(b"HTTP/1.1 408 "))  # a time in which others are too late
        connection.sendall(row[-5:])
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


def test_reply_that_nobody_reads_is_dropped(start: Callable[..., Server]) -> None:
    """A caller that sends requests and reads no reply is disconnected: its replies don't stay in memory."""
    server = start(**IMPATIENT)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((HOST, server.port))
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 300)
        until(lambda: bool(open_connections(server)))
        until(lambda: not open_connections(server))
    assert answers(server)


def test_oldest_incomplete_connection_makes_room_for_a_new_one(start: Callable[..., Server]) -> None:
    """With all connections taken by callers that are slow, a probe gets in, and the oldest of them is closed."""
    server = start(max_connections=2)
    until(lambda: not open_connections(server))
    with closing(connect(server)) as oldest:
        oldest.sendall(PARTS["head"])
        until(lambda: bool(open_connections(server)))
        wait_for_a_later_time(server)
        with closing(connect(server)) as newest:
            newest.sendall(PARTS["head"])
            until(lambda: len(open_connections(server)) == 2)
            assert answers(server)
            assert oldest.recv(1) == b""
            newest.setblocking(False)
            with pytest.raises(BlockingIOError):
                newest.recv(1)


def test_idle_connection_makes_room_when_none_is_incomplete(start: Callable[..., Server]) -> None:
    """If all callers have their replies, the connection that has been idle for the longest is closed."""
    server = start(max_connections=2)
    with closing(connect(server)) as first, closing(connect(server)) as second:
        first.sendall(post(BODY))
        assert first.recv(10_000)
        wait_for_a_later_time(server)
        second.sendall(post(BODY))
        assert second.recv(10_000)
        assert answers(server)
        assert first.recv(1) == b""


def test_idle_connection_is_closed_after_the_keep_alive_time(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a reply of the fast path and of a route alike."""
    server = Server(FakeSource(release), monkeypatch, SETTINGS.model_copy(update=IMPATIENT), timeout_keep_alive=0)
    with server.running():
        for sent in (post(BODY), b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"):
            assert server.send(sent).startswith(b"HTTP/1.1 200 ")


def test_new_connection_is_refused_while_all_others_wait_for_replies(
    start: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a batch under way on every connection, a further one gets 503 with Retry-After, and no batch is lost."""
    gate = Gate(monkeypatch)
    server = start(max_connections=1)
    until(lambda: not open_connections(server))
    batch = json.dumps({"records": [ROW]}).encode()
    try:
        with closing(connect(server)) as busy:
            busy.sendall(post(batch).replace(b"/predict", b"/predict/batch"))
            until(lambda: [one.awaited for one in open_connections(server)] == [Awaited.REPLY])
            refused = server.send(b"")
            assert refused.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nRetry-After: 1\r\n" in refused
            gate.open.set()
            assert busy.recv(100).startswith(b"HTTP/1.1 200 ")
    finally:
        gate.open.set()
