"""promote_model.py --prune: old versions are removed, and what is needed stays."""

import os
import secrets
import shutil
import subprocess
from pathlib import Path

import pytest
import requests

from tabserve.registry.reader import VERSION_TAG
from tests.support.client import served_version
from tests.support.project import PYTHON
from tests.support.promotion import Command, live
from tests.support.servers import serving
from tests.support.waiting import LIMIT, until
from tests.support.workspaces import Workspace


@pytest.fixture(scope="module")
def trained_six(trained_thrice: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Versions 1 to 6: 5 is live, a rollback leads to 3, 2 is the challenger, 4 is the best of two trials. Nothing
    needs 1 and 4. Tests must not change it."""
    six = Workspace(tmp_path_factory.mktemp("six") / "copy")
    shutil.copytree(trained_thrice.folder, six.folder)
    for search in (["--search", "2", "--folds", "2"], [], []):
        six.train("--n-estimators", "5", "--promote", "never", *search)
    store = six.store()
    versions = {listed.version.registry_version: listed.version for listed in store.versions()}
    store.move("champion", versions["5"], "better")
    store.move("challenger", versions["2"], "to watch")
    return six


@pytest.fixture
def six(trained_six: Workspace, three: Workspace) -> Workspace:
    """A copy of it in place of the three, for one test."""
    shutil.rmtree(three.folder)
    shutil.copytree(trained_six.folder, three.folder)
    return three


def test_prune_removes_old_versions_and_keeps_needed_ones(six: Workspace, command: Command) -> None:
    """--prune keeps the champion, the challenger and the version that a rollback leads to. What it removes from the
    artifacts is still in MLflow."""
    before = six.versions()
    code, shown = command("--prune", "--keep", "1")
    assert (code, len(shown.splitlines())) == (0, 3)
    assert six.versions() == [before[1], before[2], before[4], before[5]]
    assert len(six.store().versions()) == 6
    assert "0 versions removed" in command("--prune", "--keep", "1")[1]
    assert not list(six.artifacts.glob(".*.partial*"))
    assert command("--rollback")[0] == 0
    assert live(six) == "3"
    assert command("1", "--why", "it is in MLflow still")[0] == 0
    assert live(six) == "1"


def test_prune_with_registry_removes_versions_from_mlflow(six: Workspace, command: Command) -> None:
    """Also the trials of their searches. No list has them any more, the printed command frees their files, and a
    training, a rollback and a running server work as before."""
    before = six.versions()
    with serving(six) as (url, _):
        until(lambda: served_version(url) == before[4])
        code, shown = command("--prune", "--keep", "2", "--registry")
        assert code == 0
        assert [listed.version.registry_version for listed in six.store().versions()] == ["6", "5", "3", "2"]
        gc = shown.splitlines()[-1].strip()
        assert gc.startswith("MLFLOW_ALLOW_FILE_STORE=true mlflow gc ")
        runs = len(list((six.folder / "mlruns").glob("*/*/artifacts")))
        path = {"PATH": f"{Path(PYTHON).parent}:{os.environ['PATH']}"}
        subprocess.run(gc, shell=True, check=True, env=six.environment | path, cwd=six.folder, capture_output=True)
        assert runs - len(list((six.folder / "mlruns").glob("*/*/artifacts"))) == 2 + 2
        seventh = six.train("--n-estimators", "5")
        until(lambda: served_version(url) == seventh)
        assert live(six) == "7"
        assert command("--rollback")[0] == 0
        assert command("--rollback")[0] == 0
        until(lambda: served_version(url) == before[2])
        assert requests.get(f"{url}/health", timeout=LIMIT).json()["status"] == "healthy"
    assert live(six) == "3"


def test_interrupted_prune_is_finished_by_the_next_one(six: Workspace, command: Command) -> None:
    """A version is removed even if its run or its model is gone from MLflow already. The next training removes what a
    killed prune left in the artifacts."""
    store = six.store()
    client = store.connect()
    entry = client.get_model_version("iris-classifier", "1")
    client.delete_run(entry.run_id)
    client.delete_logged_model(entry.model_id)
    (six.artifacts / six.versions()[3]).rename(six.artifacts / f".{six.versions()[3]}.partial")
    assert command("--prune", "--keep", "1", "--registry")[0] == 0
    assert [listed.version.registry_version for listed in store.versions()] == ["6", "5", "3", "2"]
    six.train("--n-estimators", "5")
    assert not list(six.artifacts.glob(".*.partial*"))


def test_prune_keeps_what_is_in_use_elsewhere(three: Workspace, command: Command) -> None:
    """It keeps a version that got an alias by hand a moment ago, the one that a rollback then leads to, one whose run
    belongs to another registered model too, and any folder that a forged tag names."""
    client = three.store().connect()
    precious = three.folder / "precious"
    precious.mkdir()
    client.set_model_version_tag(three.model_name, "1", VERSION_TAG, f"../{precious.name}")
    client.set_registered_model_alias(three.model_name, "champion", "2")
    code, shown = command("--prune", "--keep", "1", "--registry")
    assert (code, "0 versions removed" in shown) == (0, True)
    assert precious.is_dir()
    client.set_model_version_tag(three.model_name, "1", VERSION_TAG, three.versions()[0])
    made = client.get_model_version(three.model_name, "1")
    name = f"copy-{secrets.token_hex(4)}"
    client.create_registered_model(name)
    client.create_model_version(name, made.source, made.run_id, model_id=made.source.removeprefix("models:/"))
    assert "0 versions removed" in command("--prune", "--keep", "1", "--registry")[1]
    assert len(three.versions()) == 3
    client.delete_registered_model(name)
    assert "1 version removed" in command("--prune", "--keep", "1", "--registry")[1]
