"""A tracking server that stalls, refuses, and comes back: the live model is served, and no request waits for it."""

import contextlib
import math
import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest

from benchmarks.load import HOST
from tabserve.errors import TrackingError
from tabserve.registry import RELEASE
from tabserve.serving.loader import MAX_PAUSE
from tests.support.bodies import BATCH, FAST, ROUTE
from tests.support.client import health, post, served_version
from tests.support.load import load
from tests.support.models import Trained
from tests.support.servers import serving, tracking_server
from tests.support.sources import FakeSource, service_of
from tests.support.waiting import LIMIT, patient, until
from tests.support.workspaces import Workspace, make_live, prepare, register

OLD, NEW = "20260101_000000", "20260101_000001"

JSON = {"Content-Type": "application/json"}


class Proxy(socketserver.ThreadingTCPServer):
    """A proxy to another port, in both directions. While it isn't `open`, data waits; while it is `refusing`, each
    connection is closed at its next data."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__((HOST, 0), ProxyConnection)
        self.port = port
        self.open, self.refusing = threading.Event(), False
        self.open.set()


class ProxyConnection(socketserver.BaseRequestHandler):
    """A connection through the proxy."""

    server: Proxy

    def handle(self) -> None:
        with socket.create_connection((HOST, self.server.port)) as upstream:
            replies = threading.Thread(target=self.forward, args=(upstream, self.request))
            replies.start()
            self.forward(self.request, upstream)
            replies.join()

    def forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):  # one of the two has gone
            while data := source.recv(2**16):
                self.server.open.wait()
                if self.server.refusing:
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def served(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Proxy]]:
    """A workspace on a tracking server, with two versions, and a proxy to that server."""
    folder = tmp_path_factory.mktemp("served")
    with tracking_server(folder) as uri, Proxy(int(uri.rpartition(":")[2])) as proxy:
        workspace = Workspace(folder, uri)
        prepare(workspace)
        for model_version in (OLD, NEW):
            release = trained.release(workspace.artifacts / model_version / RELEASE, model_version)
            register(workspace, model_version, release.checksum)
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        yield workspace, proxy
        proxy.shutdown()
        thread.join(LIMIT)


Store = tuple[Workspace, Proxy, dict[str, str]]


@pytest.fixture
def store(served: tuple[Workspace, Proxy]) -> Iterator[Store]:
    """That workspace with the old version live, the proxy, and the environment of an API that uses the proxy."""
    workspace, proxy = served
    make_live(workspace, "1")
    yield workspace, proxy, {"MLFLOW_TRACKING_URI": f"http://{HOST}:{proxy.server_address[1]}"}
    proxy.refusing = False
    proxy.open.set()


def test_start_does_not_wait_for_a_stalled_store(store: Store) -> None:
    """An API that is started while the store takes requests and answers none serves the last champion, before its
    question to the store times out, and /health says so; once the store answers, it serves the champion."""
    workspace, proxy, through = store
    with serving(workspace, **through) as (url, _):
        until(lambda: served_version(url) == OLD)
    make_live(workspace, "2")
    proxy.open.clear()
    never = str(round(10 * LIMIT))
    with serving(workspace, **through, MLFLOW_HTTP_REQUEST_TIMEOUT=never) as (url, _):
        until(lambda: served_version(url) == OLD)
        state = health(url)
        assert state["status"] == "degraded"
        assert "hasn't answered" in state["reason"]
        assert f"{OLD} is served meanwhile" in state["reason"]
        assert post(f"{url}/predict/batch", data=BATCH.partition(b"\r\n\r\n")[2], headers=JSON).ok
        proxy.open.set()
        until(lambda: served_version(url) == NEW)
        assert health(url)["status"] == "healthy"


def test_no_request_waits_for_a_store_that_stalls_or_refuses(store: Store) -> None:
    """While the store stalls, and while it refuses, every request on many connections is answered, and /health says
    what is wrong; once the store is back, the API is healthy and follows a new champion."""
    workspace, proxy, through = store
    impatient = {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(math.ceil(patient(2))), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    with serving(workspace, **through, **impatient) as (url, _):
        until(lambda: served_version(url) == OLD)
        with load(url, 8, [*[FAST] * 20, *[ROUTE] * 10, BATCH], pause=0.01) as sent:

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
            until(lambda: served_version(url) == NEW)
            serves_on("healthy")
    assert sent.lost == []


def test_pauses_between_polls_grow_and_differ() -> None:
    """While the store fails, the pauses between two polls double up to a limit, and differ at random, so that many
    servers don't all poll at the same moment when it is back."""
    source = FakeSource()
    source.fail_champion = TrackingError("the store is away")
    service, _ = service_of(source, pause=2)
    for doubled in (2, 4, 8, 16, 32, MAX_PAUSE, MAX_PAUSE):
        service.poll()
        pauses = [service._champion.pause() for _ in range(100)]
        assert doubled * 0.75 <= min(pauses) < max(pauses) <= doubled * 1.25
        assert max(pauses) - min(pauses) > doubled * 0.25
