"""Servers that a test starts and stops: the API as a process or in a thread, MLflow's tracking server, and a server
of another kind."""

import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tabserve.cli import addresses
from tabserve.settings import Settings
from tabserve.web import create_app
from tabserve.web.context import RequestContext
from tabserve.web.fast_path import FastPath, FastProtocol
from tabserve.web.refusals import Reply
from tests.support.client import status
from tests.support.databases import database
from tests.support.models import SETTINGS
from tests.support.project import PYTHON, unmeasured_environment
from tests.support.sources import FakeSource
from tests.support.waiting import LIMIT, until
from tests.support.workspaces import Workspace

HOST = "127.0.0.1"


@contextmanager
def server_process(
    command: list[str], folder: Path, environment: Mapping[str, str], log: Path, probe: str
) -> Iterator["subprocess.Popen[str]"]:
    """A server as a process in this folder, once a GET of `probe` gives 200. Its output goes to `log`.

    Raises:
        AssertionError: it ended before it answered, with the end of its log.
    """
    with (
        log.open("w") as output,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output, text=True) as server,
    ):
        try:

            def answers() -> bool:
                assert server.poll() is None, f"the server ended with {server.returncode}: {log.read_text()[-1000:]}"
                return status(probe) == 200

            until(answers)
            yield server
        finally:
            server.terminate()
            try:
                server.wait(LIMIT)
            except subprocess.TimeoutExpired:
                server.kill()
                raise


@contextmanager
def serving(workspace: Workspace, **environment: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The API on a free port: its address and process. It polls the registry often, and logs to `api.log`."""
    port = addresses.free_port(HOST)
    url = f"http://{HOST}:{port}"
    often = {"TABSERVE_FOLLOW_SECONDS": "0.2", "TABSERVE_PORT": str(port)}
    everything = workspace.environment | often | environment
    command, log = workspace.command("api.py"), workspace.folder / "api.log"
    with server_process(command, workspace.folder, everything, log, f"{url}/livez") as server:
        yield url, server


@contextmanager
def mlflow_process(command: str, folder: Path, *options: str) -> Iterator[str]:
    """`mlflow server` or `mlflow ui` with one worker, on a free port: its address."""
    port = addresses.free_port(HOST)
    url = f"http://{HOST}:{port}"
    arguments = ["--workers", "1", "--host", HOST, "--port", str(port), *options]
    # neither our store nor the measuring of coverage is for it
    environment = unmeasured_environment() | {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    line, log = [PYTHON, "-m", "mlflow", command, *arguments], folder / f"{command}.log"
    with server_process(line, folder, environment, log, f"{url}/health"):
        yield url


@contextmanager
def tracking_server(folder: Path) -> Iterator[str]:
    """MLflow's tracking server on a database and a folder of artifacts of its own: its address."""
    stores = ["--backend-store-uri", database(folder), "--artifacts-destination", f"{folder}/served"]
    with mlflow_process("server", folder, *stores) as url:
        yield url


@contextmanager
def answering(status: int, body: str = "") -> Iterator[str]:
    """A server of another kind, which gives each GET this reply: its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(LIMIT)


class Server:
    """The API with its fast path, in a thread, on a free port.

    Attributes:
        fast_bodies: the bodies that took the fast path.
    """

    def __init__(
        self, source: FakeSource, monkeypatch: pytest.MonkeyPatch, settings: Settings = SETTINGS, **options: Any
    ) -> None:
        self.app = create_app(settings, source)
        self.fast_bodies: list[bytes] = []
        respond = FastPath.respond

        def observed(fast_path: FastPath, context: RequestContext, body: bytes) -> Reply:
            self.fast_bodies.append(body)
            return respond(fast_path, context, body)

        monkeypatch.setattr(FastPath, "respond", observed)
        self.port = addresses.free_port(HOST)
        self.url = f"http://{HOST}:{self.port}"
        config = uvicorn.Config(
            self.app,
            port=self.port,
            http=FastProtocol,
            loop="uvloop",
            log_config=None,
            server_header=False,
            proxy_headers=False,
            **options,
        )
        self.server = uvicorn.Server(config)

    @contextmanager
    def running(self, ready: int = 200) -> Iterator["Server"]:
        """Serves until the block ends. The block begins when /readyz has the status `ready`."""
        thread = threading.Thread(target=self.server.run)
        thread.start()
        try:
            until(lambda: self.server.started and status(f"{self.url}/readyz") == ready)
            yield self
        finally:
            self.server.should_exit = True
            thread.join(LIMIT)
            assert not thread.is_alive()

    def send(self, request: bytes) -> bytes:
        """All that comes back for these bytes until the server closes the connection."""
        with closing(socket.create_connection((HOST, self.port), timeout=LIMIT)) as connection:
            connection.sendall(request)
            return connection.makefile("rb").read()
