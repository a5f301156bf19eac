"""Fixtures that several test modules use: a trained release, workspaces, and stores of every kind."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tabserve.model.release import Release
from tests.support.databases import database
from tests.support.models import Trained
from tests.support.nursery import Nursery
from tests.support.servers import tracking_server
from tests.support.workspaces import Workspace

hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


@pytest.fixture(scope="session")
def trained() -> Trained:
    """A small forest, fitted on Iris in this process."""
    return Trained()


@pytest.fixture(scope="session")
def release(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The release of that forest. Must not be changed."""
    return trained.release(tmp_path_factory.mktemp("release") / "release")


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with one training, in a folder with a blank in its name. Must not be changed."""
    workspace = Workspace(tmp_path_factory.mktemp("work space"))
    workspace.train("--n-estimators", "10")
    return workspace


@pytest.fixture
def workspace(trained_once: Workspace, tmp_path: Path) -> Workspace:
    """A copy of that workspace in another folder. May be changed."""
    shutil.copytree(trained_once.folder, tmp_path / "copy")
    return Workspace(tmp_path / "copy")


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a short path: that of a unix socket has at most 103 bytes on macOS."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def empty_workspace(tmp_path: Path) -> Workspace:
    """A workspace without a training."""
    return Workspace(tmp_path)


@pytest.fixture(params=["folder", "database", "server"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workspace]:
    """A workspace without a training: on a folder, on a SQLite file, and on a tracking server with its own folder."""
    if request.param == "server":
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "here").mkdir()
        with tracking_server(tmp_path / "elsewhere") as uri:
            yield Workspace(tmp_path / "here", uri)
    else:
        yield Workspace(tmp_path, database(tmp_path) if request.param == "database" else None)


@pytest.fixture(scope="session")
def nurseries() -> Iterator[list[Nursery]]:
    """Two processes that fork trainings, so that two trainings can run at a time."""
    pair = [Nursery(), Nursery()]
    yield pair
    for nursery in pair:
        nursery.close()
