"""A registry on a folder and on a database, with MLflow itself."""

import shutil
from pathlib import Path

import pytest

from tabserve.model.versions import RegisteredVersion
from tabserve.registry import Registry
from tests.support.databases import database
from tests.support.models import Trained
from tests.support.registry import NAMES, train
from tests.support.workspaces import Workspace


@pytest.fixture(scope="module", params=["folder", "database"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def workspace_at(folder: Path, kind: str) -> Workspace:
    return Workspace(folder, database(folder) if kind == "database" else f"file:{folder}/mlruns")


@pytest.fixture
def place(tmp_path: Path, kind: str) -> Workspace:
    return workspace_at(tmp_path, kind)


@pytest.fixture
def registry(place: Workspace) -> Registry:
    return place.store()


@pytest.fixture(scope="module")
def trained_thrice(trained: Trained, kind: str, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Versions 1 to 3, none of them live. Not to be changed."""
    place = workspace_at(tmp_path_factory.mktemp(kind), kind)
    for model_version in NAMES:
        train(place.store(), trained, model_version)
    return place


@pytest.fixture
def three(place: Workspace, trained_thrice: Workspace) -> list[RegisteredVersion]:
    """The three versions, in a copy of that place."""
    shutil.copytree(trained_thrice.folder, place.folder, dirs_exist_ok=True)
    return [listed.version for listed in reversed(place.store().versions())]
