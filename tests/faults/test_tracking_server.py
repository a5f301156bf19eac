"""A tracking server as MLflow's store: everything goes over HTTP, and the API keeps what it needs to do without."""

from pathlib import Path

import requests

from tests.support.servers import serving, tracking_server, version
from tests.support.waiting import until
from tests.support.workspaces import Workspace


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
            until(lambda: version(url) == new)
            done = training.run("promote_model.py", "--rollback", "--why", "slower", MLFLOW_TRACKING_URI=uri)
            assert done.returncode == 0, done.stderr
            until(lambda: version(url) == old)
            until(lambda: requests.get(f"{url}/model/info", timeout=10).json()["journal"][0]["why"] == "slower")
        assert api.versions() == [old, new]
        assert (api.artifacts / old).stat().st_mode == api.artifacts.stat().st_mode
    with serving(api, MLFLOW_TRACKING_URI=uri) as (url, _):
        until(lambda: version(url) == old)
        health = requests.get(f"{url}/health", timeout=10).json()
        assert (health["status"], f"{old} is served meanwhile" in health["reason"]) == ("degraded", True)
