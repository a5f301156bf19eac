"""A folder in which the project's commands run as processes, and what a test reads and writes there."""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabserve.registry import RELEASE, Registry, journal, open_registry
from tabserve.registry.reader import CHECKSUM_TAG, VERSION_TAG
from tabserve.settings import Settings
from tabserve.store_uri import absolute_store
from tests.support import commands
from tests.support.project import PYTHON, ROOT
from tests.support.waiting import LONG_LIMIT

if TYPE_CHECKING:
    from mlflow.entities import Run


class Workspace:
    """A folder for commands, with its own `artifacts` and, unless `uri` names another store, its own `mlruns`.

    Attributes:
        forks: whether `run` may run a script in a forked child, and not as the process that `command` names.
    """

    forks = True

    def __init__(self, folder: Path, uri: str | None = None, model_name: str = "iris-classifier") -> None:
        self.folder = folder
        self.artifacts = folder / "artifacts"
        self.uri = uri or f"file:{folder}/mlruns"
        self.model_name = model_name

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a command that works on this folder and store."""
        return os.environ | {
            "MLFLOW_TRACKING_URI": self.uri,
            "TABSERVE_ARTIFACTS_DIR": str(self.artifacts),
            "TABSERVE_MODEL_NAME": self.model_name,
        }

    def command(self, script: str) -> list[str]:
        """The command line of a script, without its arguments."""
        return [PYTHON, str(ROOT / script)]

    def run(self, script: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Runs a script to its end, from a working directory that has nothing to do with the project."""
        if self.forks and script in commands.SCRIPTS:
            return self.run_together((script, *arguments), environment=environment)[0]
        return subprocess.run(
            [*self.command(script), *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=LONG_LIMIT,
            check=False,
        )

    def run_together(
        self,
        *command_lines: Sequence[str],
        environment: Mapping[str, str] | None = None,
        difference: Mapping[str, Any] | None = None,
    ) -> "list[subprocess.CompletedProcess[str]]":
        """Runs scripts at the same time, each in a forked child. For the difference see `commands.job`."""
        everything, given = self.environment | dict(environment or {}), difference or {}
        jobs = [commands.job(script, self.folder, everything, options, **given) for script, *options in command_lines]
        return [
            subprocess.CompletedProcess([job["script"], *job["arguments"]], ended.status, ended.out, ended.err)
            for job, ended in zip(jobs, commands.run_jobs(jobs), strict=True)
        ]

    def start(self, script: str, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """Starts a script as a process; its output can be read line by line from `stdout`."""
        return subprocess.Popen(
            [*self.command(script), *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def train(self, *options: str, clock: float | None = None) -> str:
        """Trains and returns the model version. The training's clock starts at `clock`, in seconds since 1970."""
        (ended,) = self.run_together(("train_model.py", *options), difference={"clock": clock})
        assert ended.returncode == 0, ended.stderr
        version = re.search(r"^(\d{8}_\d{6}), version", ended.stdout, re.MULTILINE)
        assert version, ended.stdout
        return version[1]

    def train_with_signal(self, number: signal.Signals, steps: int) -> "subprocess.CompletedProcess[str]":
        """Trains, and sends the training this signal after so many steps."""
        difference = {"signal": int(number), "steps": steps}
        return self.run_together(("train_model.py", "--n-estimators", "5"), difference=difference)[0]

    def versions(self) -> list[str]:
        """The model versions in `artifacts`, the oldest first."""
        return sorted(path.name for path in self.artifacts.iterdir() if not path.name.startswith("."))

    def store(self) -> Registry:
        settings = Settings.model_construct(
            tracking_uri=absolute_store(self.uri, self.folder),
            artifacts_dir=self.artifacts,
            model_name=self.model_name,
            model_alias="champion",
        )
        return open_registry(settings)


def prepare(workspace: Workspace) -> None:
    """Creates the experiment and the registered model, as a first training does."""
    client = workspace.store().connect()
    client.create_experiment(workspace.model_name)
    client.create_registered_model(workspace.model_name)


def register(workspace: Workspace, model_version: str, checksum: str) -> str:
    """Registers the folder `artifacts/<model_version>/` as a training does, with a run that holds a copy of it.

    Returns:
        The registry version.
    """
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
    """Gives the alias to a version by MLflow's client, and records that in the journal."""
    store = workspace.store()
    move = journal.next_deployment(store.journal(), store.alias, number, journal.whoami(), "a test")
    store.connect().set_registered_model_tag(store.model_name, *journal.entry(move))
    store.connect().set_registered_model_alias(store.model_name, store.alias, number)


def runs(workspace: Workspace) -> "list[Run]":
    """The runs of the experiment in MLflow, of searches too."""
    client = workspace.store().connect()
    experiment = client.get_experiment_by_name(workspace.model_name)
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def registry_state(workspace: Workspace) -> dict[str, Any]:
    """What MLflow's pages and `promote_model.py` show of the registry. Every listed version is fetched and verified."""
    store = workspace.store()
    client = store.connect()
    listed = client.search_model_versions("name = 'iris-classifier'")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return {
        "listed": sorted(int(version.version) for version in listed),
        "versions": [store.fetch(entry.version).model_version for entry in store.versions()],
        "champion": [store.champion().registry_version, store.champion().model_version],
        "journal": [[entry.number, entry.origin, entry.to] for entry in store.journal()],
        "runs": sorted([run.info.run_name, run.info.status] for run in client.search_runs(experiments)),
        "models": len(client.search_logged_models(experiments)),
    }
