"""A tracking server as MLflow's store: the API gets everything over HTTP, and does without it while it is away."""

from pathlib import Path

from tests.support.client import get, health, served_version
from tests.support.servers import serving, tracking_server
from tests.support.waiting import until
from tests.support.workspaces import Workspace


def test_api_elsewhere_follows_and_starts_without_the_tracking_server(tmp_path: Path) -> None:
    """An API whose artifacts are empty fetches the champion over HTTP and shows the journal. Started again while the
    tracking server is away, it serves the last champion, and /health says so."""
    (tmp_path / "api").mkdir()
    training, api = Workspace(tmp_path), Workspace(tmp_path / "api")
    with tracking_server(tmp_path) as uri:
        for trees in ("5", "6"):
            done = training.run("train_model.py", "--n-estimators", trees, MLFLOW_TRACKING_URI=uri)
            assert done.returncode == 0, done.stderr
        old, new = training.versions()
        with serving(api, MLFLOW_TRACKING_URI=uri) as (url, _):
            until(lambda: served_version(url) == new)
            done = training.run("promote_model.py", "--rollback", "--why", "slower", MLFLOW_TRACKING_URI=uri)
            assert done.returncode == 0, done.stderr
            until(lambda: served_version(url) == old)
            until(lambda: get(f"{url}/model/info").json()["journal"][0]["why"] == "slower")
        assert api.versions() == [old, new]
        assert (api.artifacts / old).stat().st_mode == api.artifacts.stat().st_mode
    with serving(api, MLFLOW_TRACKING_URI=uri) as (url, _):
        until(lambda: served_version(url) == old)
        state = health(url)
        assert (state["status"], f"{old} is served meanwhile" in state["reason"]) == ("degraded", True)
