"""The service behind nginx and HAProxy, configured as docs/guides/gateways.md shows."""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
import requests

from benchmarks.load import request
from tabserve.cli import addresses
from tabserve.model import Release
from tabserve.web.fast_path import FastProtocol
from tests.support.client import get, post
from tests.support.gateways import NAMES, PREFIX, gateway, program
from tests.support.load import load
from tests.support.models import ROW, SETTINGS
from tests.support.servers import HOST, Server, server_process
from tests.support.sources import FakeSource
from tests.support.waiting import LIMIT, until
from tests.support.workspaces import Workspace

pytestmark = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.skipif(program(name) is None, reason=f"{name} isn't installed"))
        for name in NAMES
    ],
)


@pytest.fixture
def server(release: Release, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that trusts this machine's proxies, and learns its prefix from them."""
    settings = SETTINGS.model_copy(update={"trusted_proxies": ("127.0.0.1",)})
    with Server(FakeSource(release), monkeypatch, settings=settings).running() as server:
        yield server


@pytest.mark.parametrize("keeps_prefix", [False, True], ids=["removed", "kept"])
def test_every_page_is_right_behind_the_gateway(name: str, keeps_prefix: bool, server: Server, tmp_path: Path) -> None:
    """Whether the gateway removes the prefix from the path or not, the redirect, the pages and their links, and the
    server that the OpenAPI document names lead to the service."""
    with gateway(name, [server.port] * 2, tmp_path, keeps_prefix=keeps_prefix) as url:
        assert urlsplit(get(f"{url}/", allow_redirects=False).headers["location"]).path == f"{PREFIX}/docs"
        links = re.findall(r'(?:href|src)="([^"]+)"|url: \'([^\']+)\'', get(f"{url}/docs").text)
        assert len(links) == 4
        assert all(get(urljoin(f"{url}/docs", one or other)).status_code == 200 for one, other in links)
        (listed,) = get(f"{url}/openapi.json").json()["servers"]
        assert post(urljoin(url, listed["url"]) + "/predict", json=ROW).json()["label"] == "setosa"
        for method, status in (("HEAD", 200), ("OPTIONS", 204), ("PUT", 405)):
            assert requests.request(method, f"{url}/health", timeout=LIMIT).status_code == status


def test_log_has_the_address_of_the_client(
    name: str, server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the caller of the gateway, by the fast path and by the route, and not what that caller wrote into
    X-Forwarded-For itself."""
    caller = "127.0.0.2"  # the gateway is 127.0.0.1
    with gateway(name, [server.port] * 2, tmp_path) as url, caplog.at_level(logging.WARNING, "tabserve.web"):
        host, port = urlsplit(url).hostname, urlsplit(url).port
        assert host
        for path in ("/predict", "/predict?by=route"):
            connection = HTTPConnection(host, port, timeout=LIMIT, source_address=(caller, 0))
            headers = {"X-Forwarded-For": "198.51.100.1", "Content-Type": "application/json"}
            connection.request("POST", PREFIX + path, b"{}", headers)
            assert connection.getresponse().status == 422
            connection.close()
        until(lambda: len(caplog.records) == 2)  # a request is logged after its reply
    assert [vars(record)["client"] for record in caplog.records] == [caller] * 2


def test_connections_to_the_server_stay_open(
    name: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred predictions in a row, by the fast path, need no connection of their own each; a batch of 8 MB and its
    reply get through."""
    made: list[FastProtocol] = []
    connection_made = FastProtocol.connection_made

    def observed(protocol: FastProtocol, transport: object) -> None:
        made.append(protocol)
        connection_made(protocol, transport)  # type: ignore[arg-type]  # as asyncio gives it

    monkeypatch.setattr(FastProtocol, "connection_made", observed)
    with gateway(name, [server.port] * 2, tmp_path) as url, requests.Session() as session:
        session.trust_env = False
        before = len(made)
        for _ in range(100):
            assert session.post(f"{url}/predict", json=ROW, timeout=LIMIT).status_code == 200
        # nginx has a connection for each of the two entries; the health checks of HAProxy make some, too
        assert len(made) - before < 20
        assert len(server.fast_bodies) == 100
        rows = 50_000
        batch = json.dumps({"columns": {name: [f"{value}@"] * rows for name, value in ROW.items()}})
        body = re.sub(r'"([\d.]+)@"', lambda found: found[1] + "0" * 35, batch).encode()
        assert len(body) > 8_000_000
        reply = session.post(f"{url}/predict/batch", body, headers={"Content-Type": "application/json"}, timeout=LIMIT)
        assert len(reply.json()["prediction"]) == rows


class Restartable:
    """A server process that can be restarted on its port."""

    def __init__(self, workspace: Workspace, stack: ExitStack, name: str) -> None:
        self.port = addresses.free_port(HOST)
        self.url = f"http://{HOST}:{self.port}"
        self._workspace, self._name = workspace, name
        self._running: AbstractContextManager[object] | None = None
        stack.callback(self.stop)

    def start(self) -> None:
        """Returns when it can predict."""
        environment = self._workspace.environment | {"TABSERVE_PORT": str(self.port)}
        log = self._workspace.folder / f"{self._name}.log"
        command = self._workspace.command("api.py")
        self._running = server_process(command, self._workspace.folder, environment, log, f"{self.url}/readyz")
        self._running.__enter__()

    def stop(self) -> None:
        running, self._running = self._running, None
        if running:
            running.__exit__(None, None, None)

    def predictions(self) -> int:
        count: int = get(f"{self.url}/metrics").json()["predictions_total"] or 0
        return count


def test_rolling_restart_loses_no_request(name: str, workspace: Workspace, tmp_path: Path) -> None:
    """While two servers are restarted one after the other under load, every request to the gateway is answered with
    200, and each server gets requests again."""
    folder = tmp_path / "gateway"
    folder.mkdir()
    with ExitStack() as stack:
        servers = [Restartable(workspace, stack, name) for name in ("one", "two")]
        for server in servers:
            server.start()
        url = stack.enter_context(gateway(name, [server.port for server in servers], folder))
        predict = request(f"{PREFIX}/predict", json.dumps(ROW).encode())
        batch = request(f"{PREFIX}/predict/batch", json.dumps({"records": [ROW] * 100}).encode())
        with load(url.removesuffix(PREFIX), 4, [*[predict] * 20, batch]) as running:
            until(lambda: bool(running.lost) or all(server.predictions() for server in servers))
            for server in servers:
                server.stop()
                enough = running.answered + 20
                until(lambda enough=enough: bool(running.lost) or running.answered > enough)  # type: ignore[misc]
                server.start()
        assert running.lost == []
        # both get requests again
        until(lambda: post(f"{url}/predict", json=ROW).ok and all(server.predictions() for server in servers))
