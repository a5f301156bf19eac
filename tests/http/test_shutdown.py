"""A stop and a kill under load: what was sent is answered, and nothing that is left hinders the next start."""

import contextlib
import json
import signal
import socket
from collections.abc import Iterator

import pytest
import requests

from benchmarks.load import HOST, Connection, request
from tabserve.cli import addresses
from tabserve.model.release import Release
from tabserve.registry import RELEASE
from tests.support.bodies import BATCH, ROUTE, SHORT_WAY
from tests.support.load import load
from tests.support.models import ROW, Trained
from tests.support.servers import Server, noticed, serving, version
from tests.support.sources import FakeSource
from tests.support.waiting import status, until
from tests.support.workspaces import Workspace, register

BODY = json.dumps(ROW).encode()
LARGE = request("/predict/batch", json.dumps({"columns": dict.fromkeys(ROW, [1.0] * 100_000)}).encode())
"""Its reply is larger than what the system keeps for a reader that doesn't read."""


@contextlib.contextmanager
def stuck(url: str, *sent: bytes) -> Iterator[None]:
    """Clients that send this, and then neither send nor read anything."""
    port = int(url.rpartition(":")[2])
    with contextlib.ExitStack() as stack:
        for start in sent:
            client = stack.enter_context(contextlib.closing(socket.socket()))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((HOST, port))
            client.sendall(start)
        yield


def test_a_stop_under_load_loses_nothing(workspace: Workspace) -> None:
    """On a SIGTERM every request that was sent on an open connection gets its whole reply, on each of 32 connections
    that send on and on; clients that never finish don't hold up the end; the status is 0."""
    with serving(workspace, TABSERVE_SHUTDOWN_SECONDS="3") as (url, process):
        until(lambda: status(f"{url}/readyz") == 200)
        half_a_header, half_a_body = SHORT_WAY[:40], SHORT_WAY[:-20]
        with stuck(url, half_a_header, half_a_body, ROUTE[:-20], LARGE):
            answered = {"/predict/batch": {"200": 1}}  # the large one: all that was sent has been read by then
            until(lambda: answered.items() <= requests.get(f"{url}/metrics", timeout=10).json()["requests"].items())
            with load(url, 32, [*[SHORT_WAY] * 20, *[ROUTE] * 10, BATCH]) as sent:
                until(lambda: sent.answered > 2000)
                assert sent.open == 32
                process.terminate()
                assert process.wait(10) == 0
                until(lambda: sent.open == 0)
            assert sent.lost == []


def test_a_connection_without_a_request_gets_a_grace(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a stop begins, a request that arrives on an open connection soon after is answered, on both ways, with
    `Connection: close`; new connections are refused, and one on which nothing arrives is closed."""
    monkeypatch.setattr("tabserve.web.protocol.GRACE", 2)
    with Server(FakeSource(release), monkeypatch).running() as server:
        fresh, used, routed, idle, half = (Connection(server.port) for _ in range(5))
        for connection in (used, routed, idle):
            assert b"connection: close" not in connection.exchange(SHORT_WAY)
        half.socket.sendall(SHORT_WAY[:40])
        server.server.should_exit = True
        until(lambda: status(server.url) == 0)  # nobody listens there any more
        for connection, sent in ((fresh, SHORT_WAY), (used, SHORT_WAY), (routed, ROUTE)):
            assert b"connection: close\r\n" in connection.exchange(sent)
            assert connection.socket.recv(1) == b""
        assert idle.socket.recv(1) == half.socket.recv(1) == b""
        for connection in (fresh, used, routed, idle, half):
            connection.socket.close()


def test_a_kill_under_load_leaves_nothing_in_the_way(
    workspace: Workspace, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed under load, when it begins to swap and when it has, the API serves the champion after the next start, at
    the same address, and goes on with the journal."""
    port = addresses.free_port(HOST)
    monkeypatch.setattr(addresses, "free_port", lambda _: port)
    (old,) = workspace.versions()
    new = "20260101_000000"
    made = trained.release(workspace.artifacts / new / RELEASE, new)
    assert register(workspace, new, made.checksum) == "2"
    client = workspace.store().connect()

    def kill(served: str, number: str, *, swapped_to: str | None) -> None:
        """Moves the alias under a server of this version, and kills it: at once, or when it serves the other version."""
        with serving(workspace) as (url, process):
            until(lambda: version(url) == served)
            with load(url, 32, [SHORT_WAY, ROUTE]) as sent:
                until(lambda: sent.answered > 500)
                client.set_registered_model_alias("iris-classifier", "champion", number)
                if swapped_to:
                    until(lambda: version(url) == swapped_to)
                process.kill()
                assert process.wait() == -signal.SIGKILL

    kill(old, "2", swapped_to=None)
    kill(new, "1", swapped_to=old)
    with serving(workspace) as (url, _):
        until(lambda: version(url) == old)
        assert requests.get(f"{url}/health", timeout=10).json()["status"] == "healthy"
        until(lambda: noticed(url, "1"))
