"""The registry in a database, or on a tracking server: every read and write goes through MLflow's client.

Machines that share such a store, but no `artifacts`, have no common lock. They have the store's transactions, one for
each write.
"""

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from tabserve.errors import NoModelError, TrackingError
from tabserve.model.versions import Deployment, RegisteredVersion
from tabserve.registry import journal
from tabserve.registry.base import Registry
from tabserve.registry.client import import_mlflow
from tabserve.registry.lock import registry_lock
from tabserve.registry.reader import HOW_TO_TRAIN, VERSION_TAG
from tabserve.settings import Settings
from tabserve.store_uri import database_file


class TrackingRegistry(Registry):
    """The registry at a URI of a database or a tracking server."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, cached_as=settings.tracking_uri)
        self._sqlite_file = database_file(self.uri)

    # -- reading

    def _require_model(self) -> None:
        if self._sqlite_file and not self._sqlite_file.exists():  # MLflow would make it if it was asked
            if self.remembered():
                raise TrackingError(f"{self.display_uri} doesn't exist any more")
            raise NoModelError(f"No model has been trained yet: {self.display_uri} doesn't exist. {HOW_TO_TRAIN}")

    def _version_with_alias(self, alias: str) -> RegisteredVersion | None:
        with self.translate_errors(f"asking {self.display_uri} for {self.model_name}@{alias}"):
            return self._version_by_mlflow(alias)

    def _journal_and_aliases(self) -> tuple[list[Deployment], dict[str, str]]:
        model = self.connect().get_registered_model(self.model_name)
        return journal.read(model.tags), {alias: str(number) for alias, number in model.aliases.items()}

    def has_version(self, model_version: str) -> bool:
        with self.translate_errors(f"asking {self.display_uri} for {model_version}"):
            versions = self.connect().search_model_versions(f"name = '{self.model_name}'", max_results=1000)
            return any(version.tags.get(VERSION_TAG) == model_version for version in versions)

    # -- writing

    def lock(self) -> AbstractContextManager[None]:
        return registry_lock(self.artifacts)

    def _set_alias(self, alias: str, number: str) -> None:
        self.connect().set_registered_model_alias(self.model_name, alias, number)

    def _add_entry(self, key: str, text: str) -> None:
        self.connect().set_registered_model_tag(self.model_name, key, text)

    def _create_version(self, model: Any, run_id: str, tags: Mapping[str, str], description: str) -> str:
        version = self.connect().create_model_version(
            self.model_name,
            source=model.model_uri,
            run_id=run_id,
            tags=dict(tags),
            description=description,
            model_id=model.model_id,
        )
        return str(version.version)

    # -- a training's runs

    def prepare(self) -> None:
        """Imports MLflow and opens the store, for a training. Takes the lock: MLflow makes the tables of an empty
        database, and fails if two processes do so at once."""
        with self.translate_errors(f"opening {self.display_uri}"):
            import_mlflow(self.uri)
            with self.lock():
                self.connect()

    def experiment(self, name: str) -> str:
        # MLflow would put the artifacts of SQLite below the working directory; they belong beside the database
        location = (self._sqlite_file.parent / "mlartifacts").as_uri() if self._sqlite_file else None
        with self.lock():
            return self._experiment(name, location)

    def logging_folder(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def dataset_lock(self) -> AbstractContextManager[None]:
        return self.lock()

    # -- repair

    def repair(self) -> bool:
        return False

    def mark_killed(self, model_version: str, token: str) -> None:
        with self.translate_errors(f"repairing what the training {model_version} left"), self.lock():
            self._end_runs(model_version, token, token_may_be_missing=False)
