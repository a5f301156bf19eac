"""MLflow's client: opened quickly or not at all, with no traces in the environment, and no credentials in errors."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tabserve.errors import NoModelError, TrackingError
from tabserve.registry import client, open_registry, runs
from tabserve.registry.artifact_packages import PACKAGES, require_package
from tabserve.settings import Settings
from tests.support.project import PYTHON, ROOT
from tests.support.servers import answering
from tests.support.workspaces import Workspace


def settings_at(uri: str, folder: Path) -> Settings:
    return Settings.model_construct(tracking_uri=uri, artifacts_dir=folder, model_name="iris", model_alias="champion")


def modules_after(code: str, workspace: Workspace) -> set[str]:
    """The top-level modules that a new interpreter has imported after this code."""
    code = f"import sys; {code}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    command = [PYTHON, "-c", code]
    environment = workspace.environment
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


OPEN = "import pathlib; from tabserve.settings import Settings; from tabserve.registry import open_registry; "
OPEN += "registry = open_registry(Settings.load(pathlib.Path.cwd()))"


def test_package_and_registry_are_opened_without_mlflow(empty_workspace: Workspace) -> None:
    """MLflow costs a second and 150 MB: a server on a folder never imports it."""
    assert "mlflow" not in modules_after(OPEN, empty_workspace)


def test_server_on_a_folder_reads_everything_without_mlflow(workspace: Workspace) -> None:
    """The champion, the challenger, the deployments and the release are read from files."""
    code = f"{OPEN}; registry.fetch(registry.champion()); registry.challenger(); assert registry.deployments()"
    assert "mlflow" not in modules_after(code, workspace)


def test_folder_is_prepared_without_database_libraries(empty_workspace: Workspace) -> None:
    """A training on a folder doesn't spend its time on importing what talks to databases."""
    modules = modules_after(f"{OPEN}; registry.prepare()", empty_workspace)
    assert "mlflow" in modules
    assert not {"sqlalchemy", "alembic"} & modules


@pytest.mark.parametrize("uri", ["http://user:hunter2@127.0.0.1:9", "postgresql://user:hunter2@127.0.0.1:9/db"])
def test_credentials_stay_out_of_errors(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message about a store that can't be reached holds neither its user nor its password."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError) as caught:
        open_registry(settings_at(uri, tmp_path)).champion()
    assert "127.0.0.1:9" in str(caught.value)
    assert "Connection refused" in str(caught.value) or "No module named" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "user" not in str(caught.value)


@pytest.mark.parametrize("body", ["You are not authenticated.", '{"error_code": "UNAUTHENTICATED", "message": "no"}'])
def test_server_that_asks_for_an_account_is_reported_with_the_variables_that_name_one(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the server says beside the status."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with answering(401, body) as uri:
        registry = open_registry(settings_at(uri, tmp_path))
        for ask in (registry.champion, registry.versions, registry.journal):
            with pytest.raises(TrackingError, match=r" failed: the server asks .* Set MLFLOW_TRACKING_USERNAME and "):
                ask()


def test_server_without_the_model_is_reported_as_that(tmp_path: Path) -> None:
    """A command says what is missing, and where."""
    with answering(404, '{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "not found"}') as uri:
        registry = open_registry(settings_at(uri, tmp_path))
        with pytest.raises(NoModelError, match=rf"^{uri} has no model iris\. Run `python train_model.py`"):
            registry.versions()


def test_credentials_stay_out_of_the_page_of_a_run(tmp_path: Path) -> None:
    """The address of a run's page is that of the server, without user and password."""
    registry = open_registry(settings_at("http://user:hunter2@host:5000", tmp_path))
    run = runs.Run(registry, "run", "1", "20260101_000000", "token")
    assert run.page.startswith("http://host:5000/#/experiments/1/runs?")


def test_database_that_cannot_be_opened_is_reported_after_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow itself would try for 105 s."""
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    (tmp_path / "mlflow.db").mkdir()
    with pytest.raises(TrackingError, match=r"opening sqlite:.* failed: .*unable to open database file"):
        open_registry(settings_at(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)).champion()
    assert tuple(pauses) == client.PAUSES
    assert sum(pauses) < 2


def test_database_that_comes_up_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that can be opened at a later attempt is used."""
    database = tmp_path / "mlflow.db"
    database.mkdir()

    def come_up(_: float) -> None:
        if database.is_dir():
            database.rmdir()

    monkeypatch.setattr("time.sleep", come_up)
    registry = open_registry(settings_at(f"sqlite:///{database}", tmp_path))
    assert registry.connect().search_registered_models() == []


@pytest.mark.parametrize("uri", ["file://{}/mlruns", "sqlite:///{}/mlflow.db"])
@pytest.mark.parametrize("before", [None, "http://mine:5000"])
def test_logging_leaves_the_environment_as_it_was(
    uri: str, before: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow would set MLFLOW_TRACKING_URI, and the settings would take its value for the user's."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if before:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", before)
    registry = open_registry(settings_at(uri.format(tmp_path), tmp_path))
    with runs.start(registry, "iris-classifier", "20260101_000000", "token") as run:
        run.log_parameters({"C": 1.0})
        run.finish()
    assert os.environ.get("MLFLOW_TRACKING_URI") == before
    assert registry.connect().get_run(run.run_id).data.params == {"C": "1.0"}


def test_missing_package_for_artifacts_is_reported_before_the_run_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow would miss it at the first upload, after the training. Without a run, nothing has to be repaired."""
    registry = open_registry(settings_at(f"sqlite:///{tmp_path}/mlflow.db", tmp_path))
    experiment_id = registry.connect().create_experiment("iris", "s3://bucket/folder")
    monkeypatch.setitem(sys.modules, "boto3", None)
    with (
        pytest.raises(TrackingError, match=r"at s3://bucket/folder, .* missing: `pip install boto3`$"),
        runs.start(registry, "iris", "20260101_000000", "token"),
    ):
        pass
    assert list(registry.connect().search_runs([experiment_id])) == []


@pytest.mark.parametrize("scheme", sorted(PACKAGES))
def test_package_of_each_place_is_named(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the password that the place may have."""
    module, package = PACKAGES[scheme]
    monkeypatch.setitem(sys.modules, module.partition(".")[0], None)
    with pytest.raises(TrackingError, match=rf"at {scheme}://place/folder, .*: `pip install {package}`$"):
        require_package(f"{scheme}://user:hunter2@place/folder")


@pytest.mark.parametrize("location", ["file:///srv/mlartifacts", "mlflow-artifacts:/1", "mlruns/1", "https://host/x"])
def test_place_that_needs_no_package_is_accepted(location: str) -> None:
    """A folder, and a tracking server that takes the uploads itself."""
    require_package(location)
