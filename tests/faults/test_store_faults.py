"""A tracking server that is away, that stalls, and that comes back: what was live is served, and nobody waits."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from benchmarks.load import HOST
from tabserve.errors import TrackingError
from tabserve.registry import RELEASE
from tabserve.serving.loader import MAX_PAUSE
from tests.support.bodies import BATCH, ROUTE, SHORT_WAY
from tests.support.load import load
from tests.support.models import Trained
from tests.support.servers import serving, tracking_server, version
from tests.support.sources import FakeSource, make
from tests.support.waiting import until
from tests.support.workspaces import Workspace, make_live, prepare, register

OLD, NEW = "20260101_000000", "20260101_000001"


JSON = {"Content-Type": "application/json"}


class Proxy(socketserver.ThreadingTCPServer):
    """A way to another port. What is sent on it, both ways, waits while it isn't `open`, and is cut off while it is
    `refusing`."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__((HOST, 0), Way)
        self.port = port
        self.open, self.refusing = threading.Event(), False
        self.open.set()


class Way(socketserver.BaseRequestHandler):
    """A connection through the proxy."""

    server: Proxy

    def handle(self) -> None:
        with socket.create_connection((HOST, self.server.port)) as there:
            back = threading.Thread(target=self.pass_on, args=(there, self.request))
            back.start()
            self.pass_on(self.request, there)
            back.join()

    def pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):  # whoever gives up
            while data := one.recv(2**16):
                self.server.open.wait()
                if self.server.refusing:
                    break
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def served(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Proxy]]:
    """A workspace on a tracking server with two versions, and a way to that server."""
    folder = tmp_path_factory.mktemp("served")
    with tracking_server(folder) as uri, Proxy(int(uri.rpartition(":")[2])) as proxy:
        workspace = Workspace(folder, uri)
        prepare(workspace)
        for model_version in (OLD, NEW):
            made = trained.release(workspace.artifacts / model_version / RELEASE, model_version)
            register(workspace, model_version, made.checksum)
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        yield workspace, proxy
        proxy.shutdown()
        thread.join()


Store = tuple[Workspace, Proxy, dict[str, str]]


@pytest.fixture
def store(served: tuple[Workspace, Proxy]) -> Iterator[Store]:
    """That workspace with the old version live, the way to the server, and the environment of an API that takes it."""
    workspace, proxy = served
    make_live(workspace, "1")
    yield workspace, proxy, {"MLFLOW_TRACKING_URI": f"http://{HOST}:{proxy.server_address[1]}"}
    proxy.refusing = False
    proxy.open.set()


def health(url: str) -> Any:
    return requests.get(f"{url}/health", timeout=10).json()


def test_a_start_does_not_wait_for_a_store_that_stalls(store: Store) -> None:
    """Started while the store takes requests and answers none, an API serves what was live before, long before its
    question has timed out, and says so; when the store answers, it serves what that says."""
    workspace, proxy, through = store
    with serving(workspace, **through) as (url, _):
        until(lambda: version(url) == OLD)
    make_live(workspace, "2")
    proxy.open.clear()
    with serving(workspace, **through, MLFLOW_HTTP_REQUEST_TIMEOUT="200") as (url, _):
        until(lambda: version(url) == OLD)
        found = health(url)
        assert found["status"] == "degraded"
        assert "hasn't answered" in found["reason"]
        assert f"{OLD} is served meanwhile" in found["reason"]
        assert requests.post(f"{url}/predict/batch", BATCH.partition(b"\r\n\r\n")[2], headers=JSON, timeout=10).ok
        proxy.open.set()
        until(lambda: version(url) == NEW)
        assert health(url)["status"] == "healthy"


def test_nobody_waits_for_the_store(store: Store) -> None:
    """While the store stalls, and while it refuses, every request on many connections is answered, and health says what
    is wrong; when the store is back, the API is healthy again and follows a new champion."""
    workspace, proxy, through = store
    impatient = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    with serving(workspace, **through, **impatient) as (url, _):
        until(lambda: version(url) == OLD)
        with load(url, 8, [*[SHORT_WAY] * 20, *[ROUTE] * 10, BATCH]) as sent:

            def serves_on(status: str) -> None:
                until(lambda: health(url)["status"] == status)
                answered = sent.answered
                until(lambda: sent.answered > answered + 500)

            serves_on("healthy")
            proxy.open.clear()
            serves_on("degraded")
            assert "failed: timed out: " in health(url)["reason"]
            proxy.open.set()
            serves_on("healthy")
            proxy.refusing = True
            serves_on("degraded")
            assert f"{OLD} is served meanwhile" in health(url)["reason"]
            proxy.refusing = False
            serves_on("healthy")
            make_live(workspace, "2")
            until(lambda: version(url) == NEW)
            serves_on("healthy")
    assert sent.lost == []


def test_pauses_grow_and_differ() -> None:
    """While the store can't be asked, the pauses between two looks double up to a limit, and differ by chance, so that
    servers that lost it together don't all come back at once."""
    source = FakeSource()
    source.fail_champion = TrackingError("the store is away")
    service, _ = make(source, pause=2)
    for doubled in (2, 4, 8, 16, 32, MAX_PAUSE, MAX_PAUSE):
        service.poll()
        pauses = [service._champion.pause() for _ in range(100)]
        assert doubled * 0.75 <= min(pauses) < max(pauses) <= doubled * 1.25
        assert max(pauses) - min(pauses) > doubled * 0.25
