"""The promises of the server hold at every entrance: `api.py`, `tabserve serve`, uvicorn and gunicorn."""

import importlib.util
import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.load import request
from tabserve.cli import addresses
from tests.support.bodies import FAST, ROUTE
from tests.support.client import get
from tests.support.load import load
from tests.support.models import ROW
from tests.support.project import PYTHON, ROOT
from tests.support.servers import HOST, server_process
from tests.support.waiting import LIMIT, patient, until
from tests.support.workspaces import Workspace

UVICORN = ("-m", "uvicorn", "api:app", "--host", HOST, "--port", "{port}")

ENTRANCES = {
    "api.py": ("api.py", "--port", "{port}"),
    "tabserve serve": ("-m", "tabserve", "serve", "--port", "{port}"),
    "uvicorn": (
        *UVICORN, "--http", "api:Protocol", "--loop", "uvloop", "--ws", "none", "--no-proxy-headers",
        "--timeout-graceful-shutdown", "8",
    ),
    "gunicorn": ("-m", "gunicorn", "api:app", "-k", "api.Worker", "-b", f"{HOST}:{{port}}"),
}  # fmt: skip
"""The commands of docs/reference/commands.md#other-servers, and their names there."""

needs_worker = pytest.mark.skipif(
    importlib.util.find_spec("uvicorn_worker") is None, reason="uvicorn-worker, for gunicorn, isn't installed"
)

OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"
WARNING = "doesn't use tabserve's HTTP protocol"


@contextmanager
def entered(workspace: Workspace, *arguments: str) -> Iterator[tuple[str, "subprocess.Popen[str]", Path]]:
    """The server that this command line of the interpreter starts: its address, its process, and its log."""
    port = addresses.free_port(HOST)
    url, log = f"http://{HOST}:{port}", workspace.folder / "entrance.log"
    command = [PYTHON, *(argument.format(port=port) for argument in arguments)]
    with server_process(command, ROOT, workspace.environment, log, f"{url}/readyz") as server:
        yield url, server, log


def exchange(url: str, sent: bytes) -> bytes:
    """All that the server sends back for these bytes until it closes the connection."""
    with socket.create_connection((HOST, int(url.rpartition(":")[2])), timeout=LIMIT) as connection:
        connection.sendall(sent)
        return connection.makefile("rb").read()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=needs_worker if name == "gunicorn" else ()) for name in ENTRANCES]
)
def test_promises_hold_at_every_entrance(name: str, workspace: Workspace) -> None:
    """Headers over the limit get 431, an offer of h2c is declined, X-Forwarded-For of a stranger isn't believed, and a
    stop under load loses no request and ends in time, with the status that stands in the documentation."""
    with entered(workspace, *ENTRANCES[name]) as (url, server, log):
        head = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        assert exchange(url, head + b"X: " + b"x" * 70_000).startswith(b"HTTP/1.1 431 ")
        body = json.dumps(ROW).encode()
        offer = request("/predict", body).replace(b"Accept: */*\r\n", OFFER)
        close = request("/predict", body).replace(b"Accept: */*\r\n", b"Connection: close\r\n")
        assert exchange(url, offer + close).count(b'"label":"setosa"') == 2
        get(f"{url}/nothing", headers={"X-Forwarded-For": "198.51.100.1"})
        with load(url, 8, [*[FAST] * 4, ROUTE]) as running:
            until(lambda: running.answered > 500)
            server.send_signal(signal.SIGTERM)
            ended = server.wait(patient(30))
            until(lambda: running.open == 0)
        assert running.lost == []
        assert ended == (-signal.SIGTERM if name == "uvicorn" else 0)
        text = log.read_text()
        assert "client=127.0.0.1" in text
        assert WARNING not in text


@pytest.mark.parametrize("command", [UVICORN, (*UVICORN, "--http", "h11")], ids=["httptools", "h11"])
def test_server_with_another_protocol_says_what_it_cannot_promise(
    command: tuple[str, ...], workspace: Workspace
) -> None:
    """Under uvicorn's own protocols the log says once at the start what doesn't hold, and which commands have it. The
    service predicts all the same."""
    with entered(workspace, *command) as (url, _, log):
        assert exchange(url, request("/predict", json.dumps(ROW).encode()).replace(b"*/*", b"*/*\r\nConnection: close"))
        text = log.read_text()
    assert text.count(WARNING) == 1
    assert "`python api.py`" in text
    assert "`uvicorn api:app --http api:Protocol`" in text
    assert "`gunicorn api:app -k api.Worker`" in text


def test_missing_package_of_the_worker_is_named(workspace: Workspace) -> None:
    """gunicorn without uvicorn-worker ends with one line of ours that says what to install."""
    blocked = workspace.folder / "blocked"
    blocked.mkdir()
    (blocked / "uvicorn_worker.py").write_text("raise ModuleNotFoundError(\"No module named 'uvicorn_worker'\")\n")
    ended = subprocess.run(
        [PYTHON, "-c", "import api; api.Worker"],
        cwd=ROOT,
        env=workspace.environment | {"PYTHONPATH": str(blocked)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr == ("api.py: No module named 'uvicorn_worker': run `pip install gunicorn uvicorn-worker`\n")
