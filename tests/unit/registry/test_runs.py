"""Runs: what a killed or failed training left is ended, and what another training left is not."""

from pathlib import Path

import pytest

from tabserve.errors import TrackingError
from tabserve.registry import Registry, open_registry, runs
from tabserve.registry.base import DRAFT_TAG
from tabserve.settings import Settings
from tests.support.databases import database


@pytest.fixture(params=["folder", "database"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    uri = database(tmp_path) if request.param == "database" else f"file://{tmp_path}/mlruns"
    return open_registry_at(uri, tmp_path)


def open_registry_at(uri: str, folder: Path) -> Registry:
    return open_registry(
        Settings.model_construct(tracking_uri=uri, artifacts_dir=folder, model_name="iris", model_alias="champion")
    )


def test_trials_of_a_killed_search_are_marked_as_killed(registry: Registry) -> None:
    """A trial that was being logged when its training was killed is marked with it. Runs of another training with the
    same name, and runs that somebody named alike, stay as they are."""
    with runs.start(registry, "iris-classifier", "20260101_000000", "token") as run:
        run.log_trial(1, {"C": 1.0}, {"cv_accuracy_mean": 0.5}, started=0)
        client = registry.connect()
        client.create_run(run.experiment_id, run_name="20260101_000000 trial 2", tags={DRAFT_TAG: "token"})
        client.create_run(run.experiment_id, run_name="20260101_000000 trial 2", tags={DRAFT_TAG: "of another"})
        client.create_run(run.experiment_id, run_name="20260101_000000 notes")
        run.finish()
    registry.mark_killed("20260101_000000", "token")
    statuses = {
        (found.info.run_name[16:], found.data.tags.get(DRAFT_TAG)): found.info.status
        for found in client.search_runs([run.experiment_id])
    }
    assert statuses == {
        ("", "token"): "FINISHED",
        ("trial 1", "token"): "FINISHED",
        ("trial 2", "token"): "KILLED",
        ("trial 2", "of another"): "RUNNING",
        ("notes", None): "RUNNING",
    }


def test_run_with_an_empty_token_file_is_marked_as_killed(tmp_path: Path) -> None:
    """In a folder a kill may leave the file of a run's token empty: the run counts as the killed training's."""
    registry = open_registry_at(f"file://{tmp_path}/mlruns", tmp_path)
    client = registry.connect()
    experiment = client.create_experiment("iris-classifier")
    run = client.create_run(experiment, run_name="20260101_000000 trial 1", tags={DRAFT_TAG: "token"}).info
    (tmp_path / "mlruns" / experiment / run.run_id / "tags" / DRAFT_TAG).write_text("")
    registry.mark_killed("20260101_000000", "token")
    assert client.get_run(run.run_id).info.status == "KILLED"


def test_trial_that_cannot_be_logged_is_marked_as_failed(tmp_path: Path) -> None:
    """As soon as the store refuses its parameters; its training is marked too."""
    registry = open_registry_at(database(tmp_path), tmp_path)
    with (
        pytest.raises(TrackingError, match="logging to MLflow"),
        runs.start(registry, "iris-classifier", "20260101_000000", "token") as run,
    ):
        run.log_trial(1, {"": 1.0}, {}, started=0)
    found = registry.connect().search_runs([run.experiment_id])
    assert {(trial.info.run_name, trial.info.status) for trial in found} == {
        ("20260101_000000", "FAILED"),
        ("20260101_000000 trial 1", "FAILED"),
    }
