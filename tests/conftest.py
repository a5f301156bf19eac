"""Small real things for the tests of single rooms: a trained release, and a source that does what it is told."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from sklearn.pipeline import Pipeline

from classifier import data, export, journal, ports, provenance, training
from classifier.data import Table
from classifier.errors import NoModelError
from classifier.journal import Move
from classifier.recipe import Recipe
from classifier.release import RegisteredVersion, Release
from classifier.schema import Schema
from classifier.settings import Settings, absolute_store
from classifier.tracking import CHECKSUM_TAG, RELEASE, VERSION_TAG, Store

if TYPE_CHECKING:
    from tests.faults import Nursery

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable


def info(schema: Schema) -> dict[str, Any]:
    """The provenance that a release has at the least."""
    return {
        "model_type": "StandardScaler + RandomForestClassifier",
        "trained_at": "2026-01-01T00:00:00+00:00",
        "parameters": {},
        "metrics": {"test_accuracy": 1.0},
        "feature_importances": dict.fromkeys(schema.feature_names, 0.25),
        "dataset": {},
        "libraries": provenance.libraries(),
        "git_commit": "unknown",
    }


class Trained:
    """A fitted pipeline on Iris, or another table, with what a release needs; `release` writes it as any version."""

    def __init__(self, trees: int = 20, seed: int = 0, table: Table | None = None) -> None:
        self.parts = data.split(table or data.load_iris(), 0.2, seed)
        self.pipeline: Pipeline = training.fit(self.parts.training, Recipe(given={"n_estimators": trees}), seed)
        self.schema: Schema = training.infer_schema(self.pipeline, self.parts.training)

    def release(self, folder: Path, model_version: str = "20260101_000000") -> Release:
        return export.write_release(
            folder, model_version, self.pipeline, self.schema, self.parts.training, info(self.schema)
        )


@pytest.fixture(scope="session")
def trained() -> Trained:
    return Trained()


@pytest.fixture(scope="session")
def release(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Release:
    return trained.release(tmp_path_factory.mktemp("release") / "release")


class FakeSource:
    """A registry in memory. `live` is what it says is champion; `fail` is raised instead, by the call it stands for."""

    def __init__(self, live: Release | None = None) -> None:
        self.live = live
        self.fail_champion: Exception | None = None
        self.fail_fetch: Exception | None = None
        self.candidate: Release | None = None
        self.fail_candidate: Exception | None = None
        self.kept_releases: dict[RegisteredVersion, Release] = {}
        self.fetched = 0
        self.on_fetch: Callable[[], None] = lambda: None

    def champion(self) -> RegisteredVersion:
        if self.fail_champion:
            raise self.fail_champion
        if self.live is None:
            raise NoModelError("No model has been trained yet. Train one.")
        return RegisteredVersion(self.live.model_version, "1", "run", self.live.checksum)

    def challenger(self) -> RegisteredVersion | None:
        if self.fail_candidate:
            raise self.fail_candidate
        if self.candidate is None:
            return None
        return RegisteredVersion(self.candidate.model_version, "2", "run", self.candidate.checksum)

    def noticed(self) -> list[Move]:
        return [Move(1, "2026-11-24T00:00:00+00:00", "me@here", "champion", None, "1", "first")]

    def remember(self, version: RegisteredVersion) -> None:
        assert self.live is not None
        self.kept_releases = {version: self.live} | self.kept_releases

    def remembered(self) -> list[RegisteredVersion]:
        return list(self.kept_releases)

    def kept(self, version: RegisteredVersion) -> Release:
        return self.kept_releases[version]

    def fetch(self, version: RegisteredVersion) -> Release:
        self.fetched += 1
        self.on_fetch()
        if self.fail_fetch:
            raise self.fail_fetch
        return next(one for one in (self.live, self.candidate) if one and one.checksum == version.checksum)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Waits for a condition that another thread or process makes true, on however busy a machine."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it didn't come true"
        time.sleep(0.005)


def status(url: str) -> int:
    """The status of a GET; 0 where nobody listens."""
    try:
        return requests.get(url, timeout=10).status_code
    except requests.ConnectionError:
        return 0


class Workspace:
    """A folder with artifacts of its own and a store, its own `mlruns` unless a `uri` names another; the project's
    scripts are run on it as processes."""

    def __init__(self, folder: Path, uri: str | None = None, model_name: str = "iris-classifier") -> None:
        self.folder = folder
        self.artifacts = folder / "artifacts"
        self.uri = uri or f"file:{folder}/mlruns"
        self.model_name = model_name

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "MLFLOW_TRACKING_URI": self.uri,
            "CLASSIFIER_ARTIFACTS_DIR": str(self.artifacts),
            "CLASSIFIER_MODEL_NAME": self.model_name,
        }

    def command(self, script: str) -> list[str]:
        return [PYTHON, str(ROOT / script)]

    def run(self, script: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Runs a script to its end, from a working directory that has nothing to do with the project."""
        return subprocess.run(
            [*self.command(script), *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def start(self, script: str, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """Starts a script; its output can be read line by line from `stdout`."""
        return subprocess.Popen(
            [*self.command(script), *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def train(self, *options: str) -> str:
        """Trains and gives back the model version."""
        done = self.run("train_model.py", *options)
        assert done.returncode == 0, done.stderr
        version = re.search(r"^(\d{8}_\d{6}), version", done.stdout, re.MULTILINE)
        assert version, done.stdout
        return version[1]

    def versions(self) -> list[str]:
        """The model versions whose artifacts are there."""
        return sorted(path.name for path in self.artifacts.iterdir() if not path.name.startswith("."))

    def store(self) -> Store:
        settings = Settings.model_construct(
            tracking_uri=absolute_store(self.uri),
            artifacts_dir=self.artifacts,
            model_name=self.model_name,
            model_alias="champion",
        )
        return Store(settings)


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


def prepare(workspace: Workspace) -> None:
    """Makes the experiment and the registered model, as a first training would."""
    client = workspace.store().connect()
    client.create_experiment(workspace.model_name)
    client.create_registered_model(workspace.model_name)


def register(workspace: Workspace, model_version: str, checksum: str) -> str:
    """Registers what is in `artifacts/<model_version>/`, with a run that holds it too, as a training would; its number
    in the registry."""
    client = workspace.store().connect()
    experiment = client.get_experiment_by_name("iris-classifier")
    assert experiment
    run_id = client.create_run(experiment.experiment_id).info.run_id
    with contextlib.chdir(workspace.folder):
        client.log_artifacts(run_id, str(workspace.artifacts / model_version))
    client.set_terminated(run_id)
    tags = {VERSION_TAG: model_version, CHECKSUM_TAG: checksum}
    version = client.create_model_version("iris-classifier", f"runs:/{run_id}/{RELEASE}", run_id, tags)
    return str(version.version)


def make_live(workspace: Workspace, number: str) -> None:
    """Gives the alias to a version, by MLflow's client. The journal comes first, so that a server that follows need not
    wait for it; the one before should be `noticed` by then."""
    store = workspace.store()
    move = journal.next_move(store.journal(), store.alias, number, journal.whoami(), "a test")
    store.connect().set_registered_model_tag(store.model_name, *journal.entry(move))
    store.connect().set_registered_model_alias(store.model_name, store.alias, number)


def noticed(url: str, number: str) -> bool:
    """Whether a server has taken over that this version became live."""
    moves = requests.get(f"{url}/model/info", timeout=10).json()["journal"]
    return bool(moves) and moves[0]["to"] == number


@pytest.fixture(scope="session")
def nurseries() -> "Iterator[list[Nursery]]":
    """Two processes that fork trainings, for two at a time."""
    from tests.faults import Nursery

    made = [Nursery(), Nursery()]
    yield made
    for nursery in made:
        nursery.close()
