"""Which versions a clean-up may remove, and how one is removed from MLflow."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tabserve.model.versions import Deployment, RegisteredVersion
from tabserve.registry import journal
from tabserve.registry.client import ignore_missing

if TYPE_CHECKING:
    from mlflow import MlflowClient


def needed(versions: Sequence[RegisteredVersion], deployments: Sequence[Deployment], keep: int) -> set[str]:
    """The registry's numbers of the versions to keep, whatever their aliases: the newest `keep`, and for each alias the
    version that a rollback leads to. `versions`: the newest first."""
    numbers = [version.registry_version for version in versions]
    wanted = set(numbers[:keep])
    for alias in {deployment.alias for deployment in deployments}:
        wanted |= set([number for number in journal.previous(deployments, alias) if number in numbers][:1])
    return wanted


def is_shared(client: "MlflowClient", model_name: str, version: RegisteredVersion) -> bool:
    """Whether another registered version belongs to the same run: a copy under another name, for instance."""
    same_run = client.search_model_versions(f"run_id = '{version.run_id}'")
    return {(found.name, str(found.version)) for found in same_run} != {(model_name, version.registry_version)}


def unregister(client: "MlflowClient", model_name: str, version: RegisteredVersion) -> None:
    """Removes the version. Marks its run, the trials of its search and its logged models as deleted, as MLflow's UI
    does."""
    with ignore_missing():
        run = client.get_run(version.run_id)
        for output in run.outputs.model_outputs:
            with ignore_missing():
                client.delete_logged_model(output.model_id)
        trials = f"tags.`mlflow.parentRunId` = '{version.run_id}'"
        for trial in client.search_runs([run.info.experiment_id], trials):
            with ignore_missing():
                client.delete_run(trial.info.run_id)
        client.delete_run(version.run_id)
    # last: if this is interrupted, the next clean-up finds the version again
    client.delete_model_version(model_name, version.registry_version)
