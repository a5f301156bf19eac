"""Small real things for the tests of single rooms: a trained release, and a source that does what it is told."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tabserve.model.release import Release
from tests.support.faults import Nursery
from tests.support.models import Trained
from tests.support.servers import tracking_server
from tests.support.workspaces import Workspace


@pytest.fixture(scope="session")
def trained() -> Trained:
    return Trained()


@pytest.fixture(scope="session")
def release(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Release:
    return trained.release(tmp_path_factory.mktemp("release") / "release")


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace, in a folder with a blank in its name, in which one training has run. Not to be changed."""
    workspace = Workspace(tmp_path_factory.mktemp("work space"))
    workspace.train("--n-estimators", "10")
    return workspace


@pytest.fixture
def workspace(trained_once: Workspace, tmp_path: Path) -> Workspace:
    """A copy of that workspace, in another folder, to be changed at will."""
    shutil.copytree(trained_once.folder, tmp_path / "copy")
    return Workspace(tmp_path / "copy")


@pytest.fixture
def empty_workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture(params=["folder", "database", "server"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workspace]:
    """An empty workspace: on a folder, on a SQLite file, and on a tracking server that runs elsewhere."""
    if request.param == "server":
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "here").mkdir()
        with tracking_server(tmp_path / "elsewhere") as uri:
            yield Workspace(tmp_path / "here", uri)
    else:
        yield Workspace(tmp_path, f"sqlite:///{tmp_path}/mlflow.db" if request.param == "database" else None)


@pytest.fixture(scope="session")
def nurseries() -> "Iterator[list[Nursery]]":
    """Two processes that fork trainings, for two at a time."""

    made = [Nursery(), Nursery()]
    yield made
    for nursery in made:
        nursery.close()
