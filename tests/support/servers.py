"""Servers as processes and in threads."""

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn

from tabserve.cli import addresses
from tabserve.web import create_app
from tabserve.web.context import RequestContext
from tabserve.web.fast_path import FastPath, FastProtocol
from tabserve.web.refusals import Reply
from tests.support.models import SETTINGS
from tests.support.project import PYTHON
from tests.support.sources import FakeSource
from tests.support.waiting import status, until
from tests.support.workspaces import Workspace


@contextlib.contextmanager
def tracking_server(folder: Path) -> Iterator[str]:
    """A real one, on a database and a folder of artifacts of its own; its address."""
    port = addresses.free_port("127.0.0.1")
    command = [PYTHON, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", f"{folder}/served"]
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    with (
        (folder / "server.log").open("wb") as log,
        subprocess.Popen(
            command,
            cwd=folder,
            env=environment | {"MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as server,
    ):
        try:
            until(lambda: status(f"http://127.0.0.1:{port}/health") == 200, 60)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def noticed(url: str, number: str) -> bool:
    """Whether a server has taken over that this version became live."""
    moves = requests.get(f"{url}/model/info", timeout=10).json()["journal"]
    return bool(moves) and moves[0]["to"] == number


@contextmanager
def serving(workspace: Workspace, **environment: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The API on a free port; its address and process. What it logs goes to `api.log` in the workspace."""
    port = addresses.free_port("127.0.0.1")
    url = f"http://127.0.0.1:{port}"
    quick = {"TABSERVE_FOLLOW_SECONDS": "0.2", "TABSERVE_PORT": str(port)}
    with (
        (workspace.folder / "api.log").open("w") as log,
        subprocess.Popen(
            workspace.command("api.py"),
            cwd=workspace.folder,
            env=workspace.environment | quick | environment,
            stdout=log,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            until(lambda: status(f"{url}/livez") == 200)
            yield url, process
        finally:
            process.terminate()


def version(url: str) -> Any:
    return requests.get(f"{url}/health", timeout=10).json()["model_version"]


class Server:
    """A server with the fast path, in a thread, on a port of its own.

    Attributes:
        fast_bodies: the bodies that took the fast path.
    """

    def __init__(self, source: FakeSource, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        self.app = create_app(SETTINGS, source)
        self.fast_bodies: list[bytes] = []
        respond = FastPath.respond

        def observed(fast_path: FastPath, context: RequestContext, body: bytes) -> Reply:
            self.fast_bodies.append(body)
            return respond(fast_path, context, body)

        monkeypatch.setattr(FastPath, "respond", observed)
        self.port = addresses.free_port("127.0.0.1")
        self.url = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(
            self.app, port=self.port, http=FastProtocol, loop="uvloop", log_config=None, server_header=False, **options
        )
        self.server = uvicorn.Server(config)

    @contextmanager
    def running(self, ready: int = 200) -> Iterator["Server"]:
        """Runs until the block ends. The block begins when /readyz has the status `ready`."""
        thread = threading.Thread(target=self.server.run)
        thread.start()
        try:
            until(lambda: self.server.started and status(f"{self.url}/readyz") == ready)
            yield self
        finally:
            self.server.should_exit = True
            thread.join(10)

    def send(self, request: bytes) -> bytes:
        """All that comes back for these bytes until the server closes the connection."""
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=10)) as connection:
            connection.sendall(request)
            return connection.makefile("rb").read()
