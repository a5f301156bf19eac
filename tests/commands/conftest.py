"""Workspaces with several versions, and promote_model.py run in them."""

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tabserve.cli import promote
from tabserve.registry.client import set_default_store
from tabserve.registry.reader import CHECKSUM_TAG, VERSION_TAG
from tests.support.databases import database
from tests.support.project import ROOT
from tests.support.promotion import Command
from tests.support.servers import tracking_server
from tests.support.workspaces import Workspace


@pytest.fixture(scope="session")
def trained_thrice(trained_once: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Versions 1 to 3, of which 3 is live. Tests must not change it."""
    folder = tmp_path_factory.mktemp("thrice") / "copy"
    shutil.copytree(trained_once.folder, folder)
    workspace = Workspace(folder)
    for trees in ("11", "12"):
        workspace.train("--n-estimators", trees)
    return workspace


@pytest.fixture(scope="session")
def on_a_database(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("database")
    return trained_there(Workspace(folder, database(folder)))


@pytest.fixture(scope="session")
def on_a_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with tracking_server(tmp_path_factory.mktemp("elsewhere")) as uri:
        yield trained_there(Workspace(tmp_path_factory.mktemp("here"), uri))


def trained_there(workspace: Workspace) -> Workspace:
    for trees in ("10", "11", "12"):
        workspace.train("--n-estimators", trees)
    return workspace


@pytest.fixture
def three(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    """Versions 1 to 3, of which 3 is live, for one test: a copy of a folder. With `ANYWHERE` also a new model on a
    database and on a server, made of the same three runs."""
    kind = getattr(request, "param", "folder")
    if kind == "folder":
        shutil.copytree(request.getfixturevalue("trained_thrice").folder, tmp_path / "three")
        return Workspace(tmp_path / "three")
    trained: Workspace = request.getfixturevalue(f"on_a_{kind}")
    three = Workspace(tmp_path / "three", trained.uri, f"model-{secrets.token_hex(4)}")
    for folder in trained.versions():
        shutil.copytree(trained.artifacts / folder, three.artifacts / folder)
    set_default_store(trained.uri)  # where MLflow looks `models:/…` up
    client, store = trained.store().connect(), three.store()
    client.create_registered_model(three.model_name)
    for number in ("1", "2", "3"):
        made = client.get_model_version(trained.model_name, number)
        tags = {tag: made.tags[tag] for tag in (VERSION_TAG, CHECKSUM_TAG)}
        model_id = made.source.removeprefix("models:/")
        client.create_model_version(three.model_name, made.source, made.run_id, tags=tags, model_id=model_id)
        store.move("champion", store.versions()[0].version, "train_model.py --promote always")
    return three


@pytest.fixture
def command(three: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs promote_model.py with these arguments, and returns its status and what it printed."""
    for name, value in three.environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        try:
            code = promote.main(arguments, root=ROOT, program="promote_model.py")
        except SystemExit as error:
            code = int(str(error.code))
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run
