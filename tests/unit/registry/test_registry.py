"""The door to MLflow and the care for its files: nothing outside the store is touched, and no credentials get out."""

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tabserve.errors import NoModelError, TabserveError, TrackingError
from tabserve.registry import filestore, runs
from tabserve.registry.filestore import BROKEN, FileStore
from tabserve.registry.registry import TOKEN_TAG, Store
from tabserve.settings import Settings
from tests.support.project import PYTHON, ROOT
from tests.support.workspaces import Workspace


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filestore, "PATIENCE", 0)


@pytest.fixture
def files(tmp_path: Path) -> FileStore:
    (tmp_path / "mlruns" / "models" / "iris").mkdir(parents=True)
    return FileStore(tmp_path / "mlruns", tmp_path / "artifacts")


def broken(files: FileStore) -> list[str]:
    """What was moved aside, by its name."""
    return sorted(path.name.partition("-")[2] for path in (files.folder.parent / "artifacts" / BROKEN).glob("*"))


@pytest.mark.parametrize("name", ["..", ".", "../..", "../../precious", "link"])
def test_repairing_stays_in_the_store(files: FileStore, name: str) -> None:
    """Whatever the model's name or a link says, repairing touches nothing outside the store's own models."""
    for folder in (files.folder, files.folder.parent, files.folder.parent / "precious", files.folder / "models"):
        (folder / "version-1").mkdir(parents=True)
        (folder / "version-1" / "mine").touch()
    (files.folder / "models" / "link").symlink_to(files.folder.parent / "precious")
    before = sorted(files.folder.parent.rglob("*"))
    files.repair_model(name, "")
    assert sorted(files.folder.parent.rglob("*")) == before


def test_a_folder_needs_no_database(empty_workspace: Workspace) -> None:
    """Where the store is a folder, a training doesn't spend its time on importing what talks to databases."""
    code = (
        "import sys, pathlib; from tabserve.settings import Settings; from tabserve.registry.registry import Store; "
        "Store(Settings.load(pathlib.Path.cwd())).prepare(); print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run(
        [PYTHON, "-c", code], cwd=ROOT, env=empty_workspace.environment, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "mlflow" in loaded
    assert not {"sqlalchemy", "alembic"} & set(loaded)


def test_a_linked_version_is_left_alone(files: FileStore, tmp_path: Path) -> None:
    """A version that is a link to somewhere else isn't moved, and neither is where it leads."""
    (tmp_path / "elsewhere").mkdir()
    link = files.folder / "models" / "iris" / "version-1"
    link.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "meta.yaml").touch()
    files.repair_model("iris", "")
    assert link.is_dir()
    assert broken(files) == []


def test_a_broken_version_is_moved_aside_with_its_alias(files: FileStore) -> None:
    """A broken version is kept elsewhere, and the alias goes with it: the next version gets its number."""
    model = files.folder / "models" / "iris"
    for number in (1, 2):
        (model / f"version-{number}").mkdir()
    (model / "version-1" / "meta.yaml").write_text("{name: iris, creation_timestamp: 5}")
    (model / "version-2" / "meta.yaml").touch()
    (model / "aliases").mkdir()
    (model / "aliases" / "champion").write_text("2")
    (model / "aliases" / "stable").write_text("1")
    files.repair_model("iris", "what it is")
    assert broken(files) == ["champion", "version-2"]
    assert [path.name for path in (model / "aliases").iterdir()] == ["stable"]
    meta = yaml.safe_load((model / "meta.yaml").read_text())
    assert (meta["name"], meta["description"], meta["creation_timestamp"]) == ("iris", "what it is", 5)


def test_a_version_that_is_being_written_is_left_alone(files: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that isn't whole is looked at twice before anything is moved."""
    version = files.folder / "models" / "iris" / "version-1"
    version.mkdir()
    monkeypatch.setattr("time.sleep", lambda _: (version / "meta.yaml").write_text("name: iris"))
    files.repair_model("iris", "")
    assert version.is_dir()
    assert broken(files) == []


def test_stray_files_are_no_broken_datasets(files: FileStore) -> None:
    """Only folders are datasets; a file beside them, such as a file manager leaves, is left alone."""
    datasets = files.folder / "1" / "datasets"
    datasets.mkdir(parents=True)
    (datasets / ".DS_Store").touch()
    (datasets / "abc").mkdir()
    files.repair_datasets()
    assert [path.name for path in datasets.iterdir()] == [".DS_Store"]
    assert broken(files) == ["abc"]


def test_temporary_files_stay_near_the_store_while_it_is_locked(files: FileStore, tmp_path: Path) -> None:
    """Under the lock temporary files are made in the artifacts' file system, and afterwards where they were before."""
    before = tempfile.gettempdir()
    with files.lock():
        assert tmp_path / "artifacts" in Path(tempfile.gettempdir()).parents
    assert tempfile.gettempdir() == before
    assert [path.name for path in (tmp_path / "artifacts").iterdir()] == [".registry.lock"]


def store_at(uri: str, folder: Path) -> Store:
    return Store(
        Settings.model_construct(tracking_uri=uri, artifacts_dir=folder, model_name="iris", model_alias="champion")
    )


@pytest.mark.parametrize("uri", ["http://user:hunter2@127.0.0.1:9", "postgresql://user:hunter2@127.0.0.1:9/db"])
def test_credentials_stay_out_of_errors(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said of a store that can't be reached holds neither its user nor its password."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError) as caught:
        store_at(uri, tmp_path).champion()
    assert "127.0.0.1:9" in str(caught.value)
    assert "Connection refused" in str(caught.value) or "No module named" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "user" not in str(caught.value)


@pytest.mark.parametrize("uri", ["file://{}/mlruns", "sqlite:///{}/mlflow.db"])
def test_the_trials_of_a_dead_search_are_buried_with_it(uri: str, tmp_path: Path) -> None:
    """A trial that was being written down when its training was killed is marked as KILLED with it; what somebody else
    named alike is left alone."""
    store = store_at(uri.format(tmp_path), tmp_path)
    with runs.start(store, "iris-classifier", "20260101_000000", "token", ()) as run:
        run.log_trial(1, {"C": 1.0}, {"cv_accuracy_mean": 0.5}, started=0)
        client = store.connect()
        client.create_run(run.experiment_id, run_name="20260101_000000 trial 2", tags={TOKEN_TAG: "token"})
        client.create_run(run.experiment_id, run_name="20260101_000000 trial 2", tags={TOKEN_TAG: "of another"})
        client.create_run(run.experiment_id, run_name="20260101_000000 notes")
        run.finish()
    store.mark_killed("20260101_000000", "token")
    found = {
        (one.info.run_name[16:], one.data.tags.get(TOKEN_TAG)): one.info.status
        for one in client.search_runs([run.experiment_id])
    }
    assert found == {
        ("", "token"): "FINISHED",
        ("trial 1", "token"): "FINISHED",
        ("trial 2", "token"): "KILLED",
        ("trial 2", "of another"): "RUNNING",
        ("notes", None): "RUNNING",
    }


def test_a_run_whose_token_was_just_being_written_is_buried(tmp_path: Path) -> None:
    """In a folder a kill may leave the file of a run's token there and empty: it is taken for the dead one's."""
    store = store_at(f"file://{tmp_path}/mlruns", tmp_path)
    client = store.connect()
    experiment = client.create_experiment("iris-classifier")
    run = client.create_run(experiment, run_name="20260101_000000 trial 1", tags={TOKEN_TAG: "token"}).info
    (tmp_path / "mlruns" / experiment / run.run_id / "tags" / TOKEN_TAG).write_text("")
    store.mark_killed("20260101_000000", "token")
    assert client.get_run(run.run_id).info.status == "KILLED"


def test_a_trial_that_cannot_be_logged_is_ended(tmp_path: Path) -> None:
    """A trial whose parameters the store refuses is marked as FAILED at once, as its training is."""
    store = store_at(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    with (
        pytest.raises(TrackingError, match="logging to MLflow"),
        runs.start(store, "iris-classifier", "20260101_000000", "token", ()) as run,
    ):
        run.log_trial(1, {"": 1.0}, {}, started=0)
    found = store.connect().search_runs([run.experiment_id])
    assert {(one.info.run_name, one.info.status) for one in found} == {
        ("20260101_000000", "FAILED"),
        ("20260101_000000 trial 1", "FAILED"),
    }


def test_credentials_stay_out_of_the_page_of_a_run(tmp_path: Path) -> None:
    """The address of a run's page is that of the server, without user and password."""
    run = runs.Run(store_at("http://user:hunter2@host:5000", tmp_path), "run", "1", "20260101_000000", "token")
    assert run.page.startswith("http://host:5000/#/experiments/1/runs?")


@pytest.mark.parametrize("uri", ["file://{}/mlruns", "sqlite:///{}/mlflow.db"])
def test_a_store_that_was_never_trained_in_stays_unmade(uri: str, tmp_path: Path) -> None:
    """Asking an empty place for its champion makes nothing there."""
    with pytest.raises(NoModelError, match="No model has been trained yet"):
        store_at(uri.format(tmp_path), tmp_path).champion()
    assert not list(tmp_path.iterdir())


def test_another_name_finds_the_models_that_there_are(workspace: Workspace) -> None:
    """Asked for a model that no one trained, a folder says which there are, and by which setting they are chosen."""
    other = Workspace(workspace.folder, model_name="penguins").store()
    with pytest.raises(NoModelError, match=r"yet as penguins; there are iris-classifier \(TABSERVE_MODEL_NAME\)"):
        other.champion()


def test_the_champion_is_the_one_that_mlflow_names(workspace: Workspace) -> None:
    """Read past MLflow, the champion is the version that MLflow itself says: as trained, after a second training, after
    the alias was moved back, and when it was taken away."""
    store = workspace.store()
    client = store.connect()

    def agrees() -> str:
        theirs = client.get_model_version_by_alias("iris-classifier", "champion")
        ours = store.champion()
        assert (ours.registry_version, ours.run_id) == (str(theirs.version), theirs.run_id)
        assert (ours.model_version, ours.checksum) == (theirs.tags["model_version"], theirs.tags["release_sha256"])
        return ours.registry_version

    assert agrees() == "1"
    workspace.train("--n-estimators", "5")
    assert agrees() == "2"
    client.set_registered_model_alias("iris-classifier", "champion", 1)
    assert agrees() == "1"
    client.delete_registered_model_alias("iris-classifier", "champion")
    with pytest.raises(NoModelError, match="carries the alias"):
        store.champion()
    client.set_registered_model_alias("iris-classifier", "champion", 2)
    client.delete_model_version("iris-classifier", 2)
    with pytest.raises(NoModelError):
        store.champion()


@pytest.mark.parametrize(
    "damage",
    [
        lambda model: (model / "aliases" / "champion").write_text("../1"),
        lambda model: (model / "aliases" / "champion").write_text("7"),
        lambda model: (model / "version-1" / "meta.yaml").unlink(),
        lambda model: (model / "version-1" / "meta.yaml").write_text("name: ["),
        lambda model: (model / "version-1" / "meta.yaml").write_text("name: other"),
        lambda model: (model / "version-1" / "tags" / "release_sha256").unlink(),
    ],
)
def test_a_registry_that_is_not_whole_is_asked_through_mlflow(
    workspace: Workspace, damage: Callable[[Path], object]
) -> None:
    """Where a file of the registry isn't as MLflow leaves it, the trouble is said, and nothing is made up."""
    damage(workspace.folder / "mlruns" / "models" / "iris-classifier")
    with pytest.raises(TabserveError):
        workspace.store().champion()


def cut(meta: Path) -> None:
    meta.write_text("name: [")


def empty(meta: Path) -> None:
    meta.write_text("")


@pytest.mark.parametrize("damage", [Path.unlink, empty, cut])
def test_a_model_whose_description_is_lost_is_repaired(workspace: Workspace, damage: Callable[[Path], None]) -> None:
    """A registered model whose own meta.yaml is gone, empty or cut gets a new one, with versions and aliases kept."""
    damage(workspace.folder / "mlruns" / "models" / "iris-classifier" / "meta.yaml")
    first = workspace.versions()[0]
    workspace.train("--n-estimators", "5", "--promote", "never")
    store = workspace.store()
    assert store.champion().model_version == first
    model = store.connect().get_registered_model("iris-classifier")
    assert model.description.startswith("Versions made by train_model.py")
    assert model.creation_timestamp > 0
    assert len(store.connect().search_model_versions("name = 'iris-classifier'")) == 2


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    """A training in a store whose path holds `#`, `%41` and blanks lands there, and is found again by the run alone."""
    workspace = Workspace(tmp_path / "c# %41 d")
    workspace.folder.mkdir()
    folder = workspace.folder / "ml#runs %41"
    done = workspace.run("train_model.py", "--n-estimators", "5", MLFLOW_TRACKING_URI=str(folder))
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c# %41 d"]
    assert {path.name for path in workspace.folder.iterdir()} == {"ml#runs %41", "artifacts"}
    (version,) = workspace.versions()
    moved = tmp_path / "e# %42"
    workspace.folder.rename(moved)
    settings = Settings.load(tmp_path, tracking_uri=str(moved / folder.name), artifacts_dir=str(tmp_path / "none"))
    store = Store(settings)
    assert store.fetch(store.champion()).model_version == version
