"""The registry in a folder: MLflow's file store, such as `mlruns/`.

What a server asks is read from the files, without MLflow. What must survive a kill is written in one step.
"""

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabserve.errors import NoModelError, TrackingError
from tabserve.model.versions import Deployment, RegisteredVersion
from tabserve.registry import journal
from tabserve.registry.base import Registry
from tabserve.registry.client import open_client, set_default_store
from tabserve.registry.filestore import FileStore
from tabserve.registry.reader import CHECKSUM_TAG, HOW_TO_TRAIN, VERSION_TAG
from tabserve.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient


class FileRegistry(Registry):
    """The registry in `folder`."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        super().__init__(settings, cached_as="folder")  # the same store has another path in a container
        self.files = FileStore(folder, self.artifacts)

    def _open(self) -> "MlflowClient":
        set_default_store(self.uri)
        return open_client(self.uri)

    # -- reading

    def _require_model(self) -> None:
        if not self.files.folder.exists():
            if self.remembered():
                raise TrackingError(f"{self.display_uri} doesn't exist any more")
            raise NoModelError(f"No model has been trained yet: {self.display_uri} doesn't exist. {HOW_TO_TRAIN}")
        models = self.files.models()
        if self.model_name not in models:  # MLflow would make folders if it was asked
            others = f" as {self.model_name}; there are {', '.join(models)} (TABSERVE_MODEL_NAME)" if models else ""
            raise NoModelError(f"No model has been trained yet{others}. {HOW_TO_TRAIN}")

    def _version_with_alias(self, alias: str) -> RegisteredVersion | None:
        with self.translate_errors(f"asking {self.display_uri} for {self.model_name}@{alias}"):
            if not self.files.has_alias(self.model_name, alias):
                return None
            version = self.files.version_with_alias(self.model_name, alias, (VERSION_TAG, CHECKSUM_TAG))
            if version:
                return self._registered(version.number, version.run_id, version.tags)
            return self._version_by_mlflow(alias)

    def _journal_and_aliases(self) -> tuple[list[Deployment], dict[str, str]]:
        deployments = journal.read(self.files.model_tags(self.model_name, journal.PREFIX))
        # read after the journal: a command moves the alias first, so an alias from before would seem to be moved back
        return deployments, self.files.aliases(self.model_name)

    def _local_folder(self, location: str) -> Path | None:
        return self.files.local_path(location) if ":" not in location else super()._local_folder(location)

    def has_version(self, model_version: str) -> bool:
        with self.translate_errors(f"asking {self.display_uri} for {model_version}"):
            return self.files.has_tag(VERSION_TAG, model_version)

    # -- writing

    def _sync(self) -> list[Deployment]:
        self.files.locate_versions(self.model_name)
        return super()._sync()

    def follow_move(self) -> None:
        with contextlib.suppress(OSError), self.lock():  # somebody who only lists may not write
            self.files.locate_versions(self.model_name)

    def lock(self) -> AbstractContextManager[None]:
        return self.files.lock()

    def _set_alias(self, alias: str, number: str) -> None:
        self.files.set_alias(self.model_name, alias, number)

    def _add_entry(self, key: str, text: str) -> None:
        self.files.add_model_tag(self.model_name, key, text)

    def _create_version(self, model: Any, run_id: str, tags: Mapping[str, str], description: str) -> str:
        from mlflow.entities.model_registry import ModelVersionTag
        from mlflow.store.model_registry.file_store import FileStore as ModelFileStore

        store = ModelFileStore(self.uri)
        # of this object alone. With MLflow's three attempts a full disk leaves three incomplete versions, and the last
        # error hides the first. MLflowClient has no argument for it
        store.CREATE_MODEL_VERSION_RETRIES = 1
        version_tags = [ModelVersionTag(key, value) for key, value in tags.items()]
        version = store.create_model_version(
            self.model_name,
            model.model_uri,
            run_id,
            version_tags,
            description=description,
            model_id=model.model_id,
        )
        self.files.locate_versions(self.model_name)
        return str(version.version)

    # -- a training's runs

    def experiment(self, name: str) -> str:
        with self.lock():
            self.files.repair.experiments()
            experiment_id = self._experiment(name)
            self.files.make_movable(experiment_id)
        return experiment_id

    @contextlib.contextmanager
    def logging_folder(self) -> Iterator[None]:
        """The parent folder of the store: its relative artifact locations start there."""
        self.files.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.chdir(self.files.folder.parent):
            yield

    @contextlib.contextmanager
    def dataset_lock(self) -> Iterator[None]:
        with self.lock():
            self.files.repair.datasets()
            yield

    # -- repair

    def repair(self) -> bool:
        with self.translate_errors("repairing the registry"), self.lock():
            self._repair_model()
        return True

    def _repair_model(self) -> None:
        self.files.repair.model(self.model_name, self._description())

    def mark_killed(self, model_version: str, token: str) -> None:
        with self.translate_errors(f"repairing what the training {model_version} left"), self.lock():
            self.files.repair.experiments()
            self.files.repair.runs()
            # the kill may have left the token's file missing or empty. Another training can't have the same name here:
            # all that use this folder claim their names in the same `artifacts`
            runs = self._end_runs(model_version, token, token_may_be_missing=True)
            self.files.repair.versions([run.info.run_id for run in runs], (VERSION_TAG, CHECKSUM_TAG))
