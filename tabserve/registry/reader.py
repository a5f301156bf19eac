"""The reading side of a registry: which versions are live, their releases, and the deployments so far.

`RegistryReader` has the parts that are the same for every store; its abstract methods are those that differ between a
folder (`file_registry`) and a database or a tracking server (`tracking_registry`).
"""

import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tabserve.errors import NoModelError, ReleaseError, TrackingError
from tabserve.model import release
from tabserve.model.release import Release
from tabserve.model.versions import Deployment, RegisteredVersion
from tabserve.registry import journal
from tabserve.registry.cache import RELEASE, ReleaseCache
from tabserve.registry.client import open_client, translate_errors
from tabserve.settings import Settings
from tabserve.store_uri import redacted

if TYPE_CHECKING:
    from mlflow import MlflowClient

VERSION_TAG, CHECKSUM_TAG = "model_version", "release_sha256"
"""Tags of a registered version: its model version, and the checksum of its release."""

HOW_TO_TRAIN = "Run `python train_model.py`; a running server picks the model up by itself."


@dataclass(frozen=True)
class ListedVersion:
    """A registered version in a list: when it was registered (UTC), and the aliases that it carries."""

    version: RegisteredVersion
    created: datetime
    aliases: tuple[str, ...]


class RegistryReader(ABC):
    """The registered model that the settings name, in the MLflow store that they name.

    Nothing here writes to the store, takes a lock or waits for another process. Servers need only this side.

    Every method that asks the store raises TrackingError if it can't be reached or read.
    """

    def __init__(self, settings: Settings, cached_as: str) -> None:
        """`cached_as`: the store's name among what is remembered in `artifacts`."""
        self.uri = settings.tracking_uri
        self.display_uri = redacted(settings.tracking_uri)
        self.model_name = settings.model_name
        self.alias, self.challenger_alias = settings.model_alias, settings.challenger_alias
        self.artifacts = settings.artifacts_dir
        self._cache = ReleaseCache(self.artifacts, f"{self.model_name} {self.alias} {cached_as}")
        self._client: MlflowClient | None = None
        self._unrecorded: list[Deployment] = []

    # -- what differs between stores

    @abstractmethod
    def _require_model(self) -> None:
        """Raises NoModelError if the store says, without MLflow, that no version was ever registered."""

    @abstractmethod
    def _version_with_alias(self, alias: str) -> RegisteredVersion | None: ...

    @abstractmethod
    def _journal_and_aliases(self) -> tuple[list[Deployment], dict[str, str]]:
        """The journal, and the aliases → the registry's numbers. The aliases are read with the journal, or after it."""

    # -- the client

    def connect(self) -> "MlflowClient":
        """MLflow's client of this store; imports MLflow the first time."""
        if self._client is None:
            with self.translate_errors(f"opening {self.display_uri}"):
                self._client = self._open()
        return self._client

    def _open(self) -> "MlflowClient":
        return open_client(self.uri)

    def translate_errors(self, doing: str) -> AbstractContextManager[None]:
        """Turns what MLflow raises in the block into a TrackingError that says what was being done."""
        return translate_errors(doing, self.uri)

    # -- the live version, and its release

    def champion(self) -> RegisteredVersion:
        """The version that is live.

        Raises:
            NoModelError: nothing is registered, or no version carries the alias.
            TrackingError: also if train_model.py didn't make the version.
        """
        self._require_model()
        version = self._version_with_alias(self.alias)
        if version is None:
            raise NoModelError(
                f"No version of {self.model_name} carries the alias '{self.alias}'. If one had it before, `python "
                f"promote_model.py --rollback` gives it back to that version. {HOW_TO_TRAIN}"
            )
        return version

    def challenger(self) -> RegisteredVersion | None:
        """The version that is marked as the challenger; None if none is."""
        return self._version_with_alias(self.challenger_alias)

    def _version_by_mlflow(self, alias: str) -> RegisteredVersion | None:
        from mlflow.exceptions import MlflowException

        try:
            version = self.connect().get_model_version_by_alias(self.model_name, alias)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
        return self._registered(str(version.version), version.run_id, version.tags)

    def _registered(self, number: str, run_id: str, tags: Mapping[str, str]) -> RegisteredVersion:
        if not _is_ours(tags):
            raise TrackingError(
                f"version {number} of {self.model_name} was not registered by train_model.py: its tags {VERSION_TAG} "
                f"and {CHECKSUM_TAG} are missing or wrong. Give the alias to a version that train_model.py registered"
            )
        return RegisteredVersion(tags[VERSION_TAG], number, run_id, tags[CHECKSUM_TAG])

    def fetch(self, version: RegisteredVersion) -> Release:
        """The release of a version, from `artifacts/` if it is there unaltered, otherwise from the run's artifacts.

        Raises:
            ReleaseError: neither place has it as it was registered.
        """
        try:
            fetched = self.cached(version)
        except ReleaseError as not_cached:
            try:
                fetched = self._fetch_from_run(version)
            except ReleaseError as error:
                fault = error.fault if not_cached.fault == "missing" else not_cached.fault
                raise ReleaseError(f"{error}; and {not_cached}", fault) from error
        if fetched.model_version != version.model_version:
            raise ReleaseError(
                f"the release registered as {version.model_version} says that it is {fetched.model_version}"
            )
        return fetched

    def _fetch_from_run(self, version: RegisteredVersion) -> Release:
        with self.translate_errors(f"fetching the release of run {version.run_id} from {self.display_uri}"):
            location = self.connect().get_run(version.run_id).info.artifact_uri
            local = self._local_folder(location)
            if local is not None:
                return release.read(local / RELEASE, version.checksum)
            with tempfile.TemporaryDirectory() as folder:
                self.connect().download_artifacts(version.run_id, RELEASE, folder)
                fetched = release.read(Path(folder) / RELEASE, version.checksum)
                if fetched.model_version == version.model_version:
                    self._cache.add(version, Path(folder) / RELEASE)
                return fetched

    def _local_folder(self, location: str) -> Path | None:
        """The folder on this machine that a run's artifact location means; None if it means another place."""
        return Path(unquote(urlsplit(location).path)) if location.startswith("file://") else None

    def cached(self, version: RegisteredVersion) -> Release:
        """The release of a version from `artifacts/` alone.

        Raises:
            ReleaseError: it isn't there as it was registered.
        """
        return self._cache.read(version)

    def remember(self, version: RegisteredVersion) -> None:
        """Remembers in `artifacts/` that a version was live, for a start without the registry. Does nothing if that
        folder can't be written."""
        self._cache.remember(version)

    def remembered(self) -> list[RegisteredVersion]:
        """The versions that were live here, the latest first."""
        return self._cache.remembered()

    # -- all versions, and the deployments

    def versions(self) -> list[ListedVersion]:
        """Every registered version that train_model.py made, the newest first.

        Raises:
            NoModelError: nothing is registered.
        """
        from mlflow.exceptions import MlflowException

        self._require_model()
        with self.translate_errors(f"asking {self.display_uri} for the versions of {self.model_name}"):
            try:
                aliases = self._aliases()
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                raise NoModelError(f"{self.display_uri} has no model {self.model_name}. {HOW_TO_TRAIN}") from error
            listed = self.connect().search_model_versions(f"name = '{self.model_name}'", max_results=1000)
            ours = [version for version in listed if _is_ours(version.tags)]
            return [
                ListedVersion(
                    version=self._registered(str(version.version), version.run_id, version.tags),
                    created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
                    aliases=tuple(alias for alias, number in aliases.items() if number == str(version.version)),
                )
                for version in sorted(ours, key=lambda version: -int(version.version))
            ]

    def metrics(self, version: RegisteredVersion) -> dict[str, float]:
        """The metrics of the version's run; empty if the run is gone."""
        from mlflow.exceptions import MlflowException

        with self.translate_errors(f"asking {self.display_uri} for run {version.run_id}"):
            try:
                return dict(self.connect().get_run(version.run_id).data.metrics)
            except MlflowException:
                return {}

    def journal(self) -> list[Deployment]:
        """The recorded deployments, the first one first."""
        return self._read_journal()[0]

    def deployments(self) -> list[Deployment]:
        """The journal, and at its end the moves by hand that it lacks: `recorded` is False in these.

        While one is there, ask again. It may be an alias that a command is just moving: the command writes the journal
        a moment later.
        """
        deployments, aliases = self._read_journal()
        self._unrecorded = list(self._moved_by_hand(deployments, aliases, self._unrecorded))
        return [*deployments, *self._unrecorded]

    def _moved_by_hand(
        self, deployments: Sequence[Deployment], aliases: Mapping[str, str], seen: Sequence[Deployment] = ()
    ) -> Iterator[Deployment]:
        """The moves that the journal lacks, the champion's last. One that was `seen` before keeps its time."""
        known = list(deployments)
        for alias in (self.challenger_alias, self.alias):
            if move := journal.unrecorded(known, alias, aliases.get(alias)):
                known.append(next((earlier for earlier in seen if replace(earlier, when=move.when) == move), move))
                yield known[-1]

    def _read_journal(self) -> tuple[list[Deployment], dict[str, str]]:
        with self.translate_errors(f"asking {self.display_uri} for the journal of {self.model_name}"):
            return self._journal_and_aliases()

    def _aliases(self) -> dict[str, str]:
        """The aliases → the registry's numbers, by MLflow, which reports a registered model that it can't read."""
        aliases = self.connect().get_registered_model(self.model_name).aliases
        return {alias: str(number) for alias, number in aliases.items()}


def _is_ours(tags: Mapping[str, str]) -> bool:
    """Whether train_model.py gave a version these tags: its name is that of a folder, and leads nowhere else."""
    return CHECKSUM_TAG in tags and re.fullmatch(release.VERSION_PATTERN, tags.get(VERSION_TAG, "")) is not None
