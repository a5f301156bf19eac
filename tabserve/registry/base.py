"""The registry of models in an MLflow store, as the commands use it: `RegistryReader`, and everything that writes.

`Registry` has the parts that are the same for every store; its abstract methods are those that differ between a folder
(`file_registry`) and a database or a tracking server (`tracking_registry`).
"""

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from tabserve.model import artifacts
from tabserve.model.versions import Deployment, RegisteredVersion
from tabserve.registry import journal, retention
from tabserve.registry.client import import_mlflow
from tabserve.registry.reader import ListedVersion, RegistryReader

if TYPE_CHECKING:
    from mlflow.entities import Run

DRAFT_TAG = "draft"
"""Tag of a run: the token of the draft that its training writes to."""


class Registry(RegistryReader):
    """A registry that can be written to. All processes that share `artifacts` write in turns.

    What was moved by hand in MLflow is recorded before anything else is written. Every method raises TrackingError if
    the store can't be reached, read or written.
    """

    # -- what differs between stores

    @abstractmethod
    def lock(self) -> AbstractContextManager[None]:
        """Held around several writes. Raises OSError if `artifacts` can't be written."""

    @abstractmethod
    def experiment(self, name: str) -> str:
        """The id of the experiment; made if it doesn't exist."""

    @abstractmethod
    def logging_folder(self) -> AbstractContextManager[None]:
        """The working directory in which a run is logged."""

    @abstractmethod
    def dataset_lock(self) -> AbstractContextManager[None]:
        """Held while a dataset is logged: nobody else logs one, and no broken one is in the way."""

    @abstractmethod
    def has_version(self, model_version: str) -> bool:
        """Whether a registered version has this name: one of another machine, or of before the clock went back."""

    @abstractmethod
    def mark_killed(self, model_version: str, token: str) -> None:
        """Repairs what a training left that failed or was killed, and marks its RUNNING runs as KILLED. They are found
        by their names and by the token of its draft: a training on another machine may have the same name."""

    @abstractmethod
    def repair(self) -> bool:
        """Repairs what a killed training left of the registered model; False if this kind of store never needs it."""

    @abstractmethod
    def _set_alias(self, alias: str, number: str) -> None: ...

    @abstractmethod
    def _add_entry(self, key: str, text: str) -> None: ...

    @abstractmethod
    def _create_version(self, model: Any, run_id: str, tags: Mapping[str, str], description: str) -> str:
        """Registers a logged model as the next version; its number. The registered model exists."""

    # -- deployments

    def sync(self) -> list[Deployment]:
        """The journal, after the moves that were made by hand have been recorded."""
        with self.translate_errors(f"writing the journal of {self.model_name}"), self.lock():
            return self._sync()

    def _sync(self) -> list[Deployment]:
        deployments, aliases = self._journal_and_aliases()
        since = deployments[-1].when if deployments else None
        recorded = [journal.by_hand(move, since) for move in self._moved_by_hand(deployments, aliases)]
        for deployment in recorded:
            self._record(deployment)
        return [*deployments, *recorded]

    def _record(self, deployment: Deployment) -> None:
        self._add_entry(*journal.entry(deployment))

    def move(self, alias: str, to: RegisteredVersion | None, why: str, *, rollback: bool = False) -> Deployment:
        """Gives the alias to a version, or takes it away, and records that. The alias comes first: it is what counts.

        A challenger that becomes the champion is no longer the challenger.
        """
        with self.translate_errors(f"moving the alias '{alias}'"), self.lock():
            before = self._sync()
            number = to.registry_version if to else None
            deployment = journal.next_deployment(before, alias, number, journal.whoami(), why, rollback=rollback)
            if to:
                self._set_alias(alias, to.registry_version)
            else:
                self.connect().delete_registered_model_alias(self.model_name, alias)
            with self.translate_errors(f"'{alias}' is on {number or 'no version'} now; writing that into the journal"):
                self._record(deployment)
                if to:
                    note = f"{deployment.when} by {deployment.who}: {deployment.why}"
                    self.connect().set_model_version_tag(self.model_name, to.registry_version, f"last_{alias}", note)
            if to and alias == self.alias:
                self.remember(to)
                if self._aliases().get(self.challenger_alias) == number:  # else a rollback would leave it answering
                    self._end_challenge(f"version {number} is live")
        return deployment

    def _end_challenge(self, why: str) -> None:
        before, alias = self._sync(), self.challenger_alias
        self.connect().delete_registered_model_alias(self.model_name, alias)
        self._record(journal.next_deployment(before, alias, None, journal.whoami(), why))

    def follow_move(self) -> None:
        """Corrects what the store has as absolute paths, if its folder has moved. Does nothing if it can't be
        written."""

    # -- clean-up

    def prune(self, keep: int, *, in_mlflow: bool) -> Iterator[tuple[ListedVersion, int]]:
        """Removes versions from `artifacts/`, and with `in_mlflow` from the store too. Yields each one that was there,
        with its size in `artifacts/` in bytes. MLflow marks their runs and models as deleted, as MLflow's UI does.

        Kept are the newest `keep`, those with an alias, those that a rollback leads to, and those that share their run
        or their name with one that is kept.

        Raises:
            NoModelError: nothing is registered.
        """
        with self.translate_errors(f"removing versions of {self.model_name}"), self.lock():
            deployments, listed = self._sync(), self.versions()
            versions = [entry.version for entry in listed]
            kept = retention.needed(versions, deployments, keep) | set(self._aliases().values())
            names = {version.model_version for version in versions if version.registry_version in kept}
            for entry in listed:
                version = entry.version
                kept |= set(self._aliases().values())  # asked again each time: somebody may move an alias in MLflow
                if version.registry_version in kept or version.model_version in names:
                    continue
                if retention.is_shared(self.connect(), self.model_name, version):
                    continue
                size = artifacts.remove(self.artifacts, version.model_version)
                if in_mlflow:
                    retention.unregister(self.connect(), self.model_name, version)
                if size or in_mlflow:
                    yield entry, size

    # -- a training

    def prepare(self) -> None:
        """Imports MLflow and opens the store, for a training."""
        with self.translate_errors(f"opening {self.display_uri}"):
            import_mlflow(self.uri)
            self.connect()

    def register(self, run_id: str, model: Any, tags: Mapping[str, str], description: str) -> RegisteredVersion:
        """Makes a logged model the next version in the registry; see `Run.register`."""
        from mlflow.exceptions import MlflowException

        with self.lock():
            self._repair_model()
            try:
                self.connect().get_registered_model(self.model_name)
            except MlflowException:
                self.connect().create_registered_model(self.model_name, description=self._description())
            else:
                self._sync()
            number = self._create_version(model, run_id, tags, description)
        return self._registered(number, run_id, tags)

    def _repair_model(self) -> None:
        """Repairs the registered model, if a store of this kind can break. The caller holds the lock."""

    def _description(self) -> str:
        return f"Versions made by train_model.py. The API serves the one with the alias `{self.alias}`."

    def _experiment(self, name: str, location: str | None = None) -> str:
        experiment = self.connect().get_experiment_by_name(name)
        return str(experiment.experiment_id if experiment else self.connect().create_experiment(name, location))

    def _end_runs(self, model_version: str, token: str, *, token_may_be_missing: bool) -> "list[Run]":
        """Marks the runs of a dead training as KILLED that are RUNNING; all its runs."""
        experiments = [experiment.experiment_id for experiment in self.connect().search_experiments()]
        candidates = self.connect().search_runs(experiments, f"attributes.run_name LIKE '{model_version}%'")
        own_name = re.compile(rf"{model_version}( trial \d+)?")
        runs = []
        for run in candidates:
            tag = run.data.tags.get(DRAFT_TAG)
            if own_name.fullmatch(run.info.run_name) and (tag == token or (token_may_be_missing and not tag)):
                runs.append(run)
        for run in runs:
            if run.info.status == "RUNNING":
                self.connect().set_terminated(run.info.run_id, "KILLED")
        return runs
