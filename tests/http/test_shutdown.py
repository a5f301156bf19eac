"""A stop and a kill under load: a stop loses no request, and the next start after a kill serves the champion."""

import contextlib
import json
import signal
import socket
from collections.abc import Iterator

import pytest
import requests

from benchmarks.load import HOST, Connection, request
from tabserve.cli import addresses
from tabserve.model import Release
from tabserve.registry import RELEASE
from tests.support.bodies import BATCH, ROUTE, SHORT_WAY
from tests.support.load import load
from tests.support.models import ROW, Trained
from tests.support.servers import Server, noticed, serving, version
from tests.support.sources import FakeSource
from tests.support.waiting import LIMIT, patient, status, until
from tests.support.workspaces import Workspace, register

LARGE_BATCH = request("/predict/batch", json.dumps({"columns": dict.fromkeys(ROW, [1.0] * 100_000)}).encode())
"""Its reply is larger than the buffers of the system, so that it isn't sent while the client doesn't read."""


@contextlib.contextmanager
def stuck_clients(url: str, *beginnings: bytes) -> Iterator[None]:
    """A client for each of these bytes, which sends them, and then neither sends nor reads anything."""
    port = int(url.rpartition(":")[2])
    with contextlib.ExitStack() as stack:
        for beginning in beginnings:
            client = stack.enter_context(contextlib.closing(socket.socket()))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((HOST, port))
            client.sendall(beginning)
        yield


def test_stop_under_load_loses_no_request(workspace: Workspace) -> None:
    """After a SIGTERM, every request that was sent on one of 32 busy connections gets its whole reply. Clients that
    never finish don't delay the end, and the exit status is 0."""
    with serving(workspace, TABSERVE_SHUTDOWN_SECONDS=str(patient(5))) as (url, process):
        until(lambda: status(f"{url}/readyz") == 200)
        half_a_head, half_a_body = SHORT_WAY[:40], SHORT_WAY[:-20]
        with stuck_clients(url, half_a_head, half_a_body, ROUTE[:-20], LARGE_BATCH):
            # the large batch is the last of them, so when it is counted, the server has read what all of them sent
            counted = {"/predict/batch": {"200": 1}}
            until(lambda: counted.items() <= requests.get(f"{url}/metrics", timeout=LIMIT).json()["requests"].items())
            with load(url, 32, [*[SHORT_WAY] * 20, *[ROUTE] * 10, BATCH]) as running:
                until(lambda: running.answered > 2000)
                assert running.open == 32
                process.terminate()
                assert process.wait(LIMIT) == 0
                until(lambda: running.open == 0)
            assert running.lost == []


def test_request_that_arrives_during_a_stop_is_answered(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a stop begins, a request that arrives soon after on an open connection is answered with `Connection: close`,
    on the fast path and on the route. New connections are refused, and a connection without a request is closed."""
    monkeypatch.setattr("tabserve.web.protocol.GRACE", patient(4))
    with Server(FakeSource(release), monkeypatch).running() as server:
        new, used_fast, used_route, idle, half_a_head = (Connection(server.port) for _ in range(5))
        for connection in (used_fast, used_route, idle):
            assert b"connection: close" not in connection.exchange(SHORT_WAY)
        half_a_head.socket.sendall(SHORT_WAY[:40])
        server.server.should_exit = True
        until(lambda: status(server.url) == 0)  # the server has closed its listening socket
        for connection, request_bytes in ((new, SHORT_WAY), (used_fast, SHORT_WAY), (used_route, ROUTE)):
            assert b"connection: close\r\n" in connection.exchange(request_bytes)
            assert connection.socket.recv(1) == b""
        assert idle.socket.recv(1) == half_a_head.socket.recv(1) == b""
        for connection in (new, used_fast, used_route, idle, half_a_head):
            connection.socket.close()


def test_server_serves_the_champion_after_a_kill_under_load(
    workspace: Workspace, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill under load, when a swap begins and when it is done, the API starts again at the same address, serves
    the champion, and goes on with the journal."""
    port = addresses.free_port(HOST)
    monkeypatch.setattr(addresses, "free_port", lambda _: port)
    (old,) = workspace.versions()
    new = "20260101_000000"
    release = trained.release(workspace.artifacts / new / RELEASE, new)
    assert register(workspace, new, release.checksum) == "2"
    client = workspace.store().connect()

    def kill_during_swap(served: str, registry_version: str, *, swapped_to: str | None) -> None:
        """Starts a server, which serves the version `served`, moves the alias, and kills the server: at once, or when
        it serves the version `swapped_to`."""
        with serving(workspace) as (url, process):
            until(lambda: version(url) == served)
            with load(url, 32, [SHORT_WAY, ROUTE]) as running:
                until(lambda: running.answered > 500)
                client.set_registered_model_alias("iris-classifier", "champion", registry_version)
                if swapped_to:
                    until(lambda: version(url) == swapped_to)
                process.kill()
                assert process.wait() == -signal.SIGKILL

    kill_during_swap(old, "2", swapped_to=None)
    kill_during_swap(new, "1", swapped_to=old)
    with serving(workspace) as (url, _):
        until(lambda: version(url) == old)
        assert requests.get(f"{url}/health", timeout=LIMIT).json()["status"] == "healthy"
        until(lambda: noticed(url, "1"))
