"""The registry in a folder: read past MLflow it says what MLflow says, and what is broken is reported or repaired."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tabserve.errors import NoModelError, TabserveError
from tabserve.registry import open_registry
from tabserve.registry.file_registry import FileRegistry
from tabserve.registry.filestore import layout
from tabserve.settings import Settings
from tests.support.workspaces import Workspace


@pytest.fixture(autouse=True)
def no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "SECOND_LOOK", 0)


def test_unknown_model_name_is_answered_with_the_known_ones(workspace: Workspace) -> None:
    """The message also names the setting that chooses one."""
    other_name = Workspace(workspace.folder, model_name="penguins").store()
    with pytest.raises(NoModelError, match=r"yet as penguins; there are iris-classifier \(TABSERVE_MODEL_NAME\)"):
        other_name.champion()


def test_champion_is_the_version_that_mlflow_says(workspace: Workspace) -> None:
    """After a training, after a second one, after the alias was moved back, and after it was removed."""
    registry = workspace.store()
    client = registry.connect()

    def agreed_champion() -> str:
        by_mlflow = client.get_model_version_by_alias("iris-classifier", "champion")
        champion = registry.champion()
        assert (champion.registry_version, champion.run_id) == (str(by_mlflow.version), by_mlflow.run_id)
        assert (champion.model_version, champion.checksum) == (
            by_mlflow.tags["model_version"],
            by_mlflow.tags["release_sha256"],
        )
        return champion.registry_version

    assert agreed_champion() == "1"
    workspace.train("--n-estimators", "5")
    assert agreed_champion() == "2"
    client.set_registered_model_alias("iris-classifier", "champion", 1)
    assert agreed_champion() == "1"
    client.delete_registered_model_alias("iris-classifier", "champion")
    with pytest.raises(NoModelError, match="carries the alias"):
        registry.champion()
    client.set_registered_model_alias("iris-classifier", "champion", 2)
    client.delete_model_version("iris-classifier", 2)
    with pytest.raises(NoModelError):
        registry.champion()


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
def test_damaged_registry_is_reported(workspace: Workspace, damage: Callable[[Path], object]) -> None:
    """If a file isn't as MLflow leaves it, the champion is asked from MLflow, which says what is wrong."""
    damage(workspace.folder / "mlruns" / "models" / "iris-classifier")
    with pytest.raises(TabserveError):
        workspace.store().champion()


def cut(meta: Path) -> None:
    meta.write_text("name: [")


def empty(meta: Path) -> None:
    meta.write_text("")


@pytest.mark.parametrize("damage", [Path.unlink, empty, cut])
def test_model_without_its_metadata_is_repaired(workspace: Workspace, damage: Callable[[Path], None]) -> None:
    """A registered model without a complete meta.yaml gets a new one, and keeps its versions and aliases."""
    damage(workspace.folder / "mlruns" / "models" / "iris-classifier" / "meta.yaml")
    first = workspace.versions()[0]
    workspace.train("--n-estimators", "5", "--promote", "never")
    registry = workspace.store()
    assert registry.champion().model_version == first
    model = registry.connect().get_registered_model("iris-classifier")
    assert model.description.startswith("Versions made by train_model.py")
    assert model.creation_timestamp > 0
    assert len(registry.connect().search_model_versions("name = 'iris-classifier'")) == 2


def test_deployment_that_is_recorded_while_the_journal_is_read_is_not_reported_as_unrecorded(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server reads the journal and then the aliases. If a command deploys in between, the next poll shows it."""
    registry = workspace.store()
    assert isinstance(registry, FileRegistry)
    (listed,) = registry.versions()
    registry.move("champion", None, "away")
    read = registry.files.model_tags

    def read_then_deploy(name: str, prefix: str) -> dict[str, str]:
        monkeypatch.setattr(registry.files, "model_tags", read)
        tags = read(name, prefix)
        workspace.store().move("champion", listed.version, "meanwhile")
        workspace.store().move("champion", None, "and away again")
        return tags

    monkeypatch.setattr(registry.files, "model_tags", read_then_deploy)
    assert [deployment.recorded for deployment in registry.deployments()] == [True, True]
    assert [deployment.why for deployment in registry.deployments()][1:] == ["away", "meanwhile", "and away again"]


def test_folder_may_have_any_name(tmp_path: Path) -> None:
    """A training in a store whose path holds `#`, `%41` and spaces lands there, and its run is enough to find it again
    after the folder was moved."""
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
    registry = open_registry(settings)
    assert registry.fetch(registry.champion()).model_version == version
