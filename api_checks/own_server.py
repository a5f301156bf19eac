"""A server of its own for the checks, where none is running."""

import contextlib
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import requests

from api_checks.client import new_session


@contextlib.contextmanager
def own_server(train: Sequence[str], serve: Sequence[str], folder: Path) -> Iterator[str]:
    """Trains in a temporary folder and serves that model on a free port; gives the address.

    Args:
        train: the command that trains.
        serve: the command that serves, and has the options --host and --port.
        folder: where both run.

    Raises:
        RuntimeError: the training failed, or the server did not become ready; with the end of its output.
    """
    with tempfile.TemporaryDirectory() as temporary:
        environment = os.environ | {
            "MLFLOW_TRACKING_URI": f"file:{temporary}/mlruns",
            "TABSERVE_ARTIFACTS_DIR": f"{temporary}/artifacts",
        }
        training = subprocess.run([*train], cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if training.returncode:
            raise RuntimeError(f"training failed: {training.stderr.strip()}")
        port = _free_port()
        command = [*serve, "--host", "127.0.0.1", "--port", str(port)]
        with (
            (Path(temporary) / "server.log").open("wb+") as log,
            subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log) as server,
        ):
            try:
                url = f"http://127.0.0.1:{port}"
                _wait_until_ready(url, server, Path(log.name))
                yield url
            finally:
                server.terminate()
                server.wait(timeout=30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(url: str, server: "subprocess.Popen[bytes]", log: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with status {server.returncode}: {log.read_text()[-1000:]}")
        with contextlib.suppress(requests.RequestException):
            if new_session().get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the server was not ready after {seconds:.0f} s: {log.read_text()[-1000:]}")
