"""A tracking server as MLflow's store: everything goes over HTTP, and the API keeps what it needs to do without."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import requests

from classifier import ports
from tests.conftest import PYTHON, Workspace
from tests.test_api_process import serving, status, version
from tests.test_service import until


@contextlib.contextmanager
def tracking_server(folder: Path) -> Iterator[str]:
    """A real one, on a database and a folder of artifacts of its own; its address."""
    port = ports.free("127.0.0.1")
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


def test_an_api_elsewhere_follows_and_does_without(tmp_path: Path) -> None:
    """An API with nothing in its artifacts fetches the champion over HTTP and shows the journal; when it is started
    again while the server is away, it serves what it had, and says so."""
    (tmp_path / "api").mkdir()
    training, api = Workspace(tmp_path), Workspace(tmp_path / "api")
    with tracking_server(tmp_path) as uri:
        for trees in ("5", "6"):
            done = training.run("train_model.py", "--n-estimators", trees, MLFLOW_TRACKING_URI=uri)
            assert done.returncode == 0, done.stderr
        old, new = training.versions()
        with serving(api, MLFLOW_TRACKING_URI=uri) as (url, _):
            until(lambda: version(url) == new, 30)
            done = training.run("promote_model.py", "--rollback", "--why", "slower", MLFLOW_TRACKING_URI=uri)
            assert done.returncode == 0, done.stderr
            until(lambda: version(url) == old, 30)
            until(lambda: requests.get(f"{url}/model/info", timeout=10).json()["journal"][0]["why"] == "slower", 30)
        assert api.versions() == [old, new]
        assert (api.artifacts / old).stat().st_mode == api.artifacts.stat().st_mode
    with serving(api, MLFLOW_TRACKING_URI=uri) as (url, _):
        until(lambda: version(url) == old, 30)
        health = requests.get(f"{url}/health", timeout=10).json()
        assert (health["status"], f"{old} is served meanwhile" in health["reason"]) == ("degraded", True)
