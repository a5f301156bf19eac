"""MLflow's registry: versions, the alias that says what is live, and the way back from there to a release.

The door to MLflow, which works alike on a folder, a database and a tracking server; `tabserve.registry.runs` goes through it
and logs. MLflow is imported on first use, for it costs a second that a caller may want to spend beside something else.

What a file store needs besides is `tabserve.registry.filestore`'s.
"""

import contextlib
import importlib
import json
import logging
import os
import re
import tempfile
import textwrap
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from tabserve.errors import NoModelError, ReleaseError, TabserveError, TrackingError
from tabserve.model import artifacts, release
from tabserve.model.release import Release
from tabserve.model.versions import Deployment, RegisteredVersion
from tabserve.registry import journal
from tabserve.registry.filestore import FileStore
from tabserve.settings import Settings
from tabserve.store_uri import database_file, redacted, store_folder, without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient

RELEASE = "release"
"""Folder of the release among a run's artifacts, and in `artifacts/<model_version>/`."""

VERSION_TAG, CHECKSUM_TAG, TOKEN_TAG = "model_version", "release_sha256", "draft"

MLFLOW_DEFAULTS = {
    "MLFLOW_ALLOW_FILE_STORE": "true",  # since 3.13 MLflow wants to be told that a folder is meant
    "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",  # this one and the next spare stalls on a machine without a network
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # with MLflow's own 7 a server that is away is said after 4 minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # the summary has the addresses
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # a bar per fetched release would fill the server's log
}
"""MLflow's own settings, where the environment leaves them open."""

REMEMBERED = 10
"""How many versions that were live are remembered, for a start while the registry is away."""

_KNOWN = TypeAdapter(list[RegisteredVersion])

PATIENCE = 1.0
"""Seconds in which whoever moves an alias also writes that down."""

DATABASE_TRIES = 4
"""How often a database is tried, a second in all. MLflow's own 10 take 105 s, and it offers no setting for them."""

HOW_TO_TRAIN = "Run `python train_model.py`; this server picks the model up by itself."


def _import_mlflow(uri: str) -> Any:
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
    mlflow = importlib.import_module("mlflow")
    if re.split("[+:]", uri)[0] in importlib.import_module("mlflow.store.db.db_types").DATABASE_ENGINES:
        # brings SQLAlchemy and Alembic, of which other stores need nothing: a sixth of a short training
        vars(importlib.import_module("mlflow.store.db.utils"))["MAX_RETRY_COUNT"] = DATABASE_TRIES
    for name in ("mlflow", "urllib3"):  # afterwards: the import sets it too
        # urllib3 warns of every retry, again and again while a server is away
        logging.getLogger(name).setLevel(logging.ERROR)
    return mlflow


def _reason(error: Exception) -> str:
    """The first line of an error, after what the system said of its cause, which a long line has at its end."""
    said = textwrap.shorten((str(error).strip() or type(error).__name__).splitlines()[0], 300, placeholder=" …")
    cause: BaseException = error
    while deeper := cause.__cause__ or cause.__context__:
        cause = deeper
    system = (cause.strerror or str(cause)) if isinstance(cause, OSError) and cause is not error else None
    return said if not system or system in said else f"{system}: {said}"


def _is_ours(tags: Mapping[str, str]) -> bool:
    """Whether they are those that train_model.py gives a version: its name is a folder's, and leads nowhere else."""
    return CHECKSUM_TAG in tags and re.fullmatch(release.VERSION_PATTERN, tags.get(VERSION_TAG, "")) is not None


@contextlib.contextmanager
def _unless_gone() -> Iterator[None]:
    """Passes over what MLflow doesn't have, or not any more."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


@dataclass(frozen=True)
class ListedVersion:
    """A registered version as a list shows it: since when it is registered, and the aliases that it carries."""

    version: RegisteredVersion
    created: datetime
    aliases: tuple[str, ...]


class Store:
    """The MLflow store that the settings name, seen as this project uses it."""

    def __init__(self, settings: Settings) -> None:
        self.uri = settings.tracking_uri
        self.shown = redacted(settings.tracking_uri)
        self.model_name, self.alias = settings.model_name, settings.model_alias
        self.challenger_alias = settings.challenger_alias
        self.artifacts = settings.artifacts_dir
        folder = store_folder(settings.tracking_uri)
        self.files = FileStore(folder, self.artifacts) if folder else None
        self._client: MlflowClient | None = None

    @contextlib.contextmanager
    def translated(self, doing: str) -> Iterator[None]:
        """Turns what MLflow, its database or the file system raises into a TrackingError that says what was being done.
        Its message holds no credentials of the store."""
        try:
            yield
        except TabserveError:
            raise
        except Exception as error:
            raise TrackingError(f"{doing} failed: {without_secrets(_reason(error), self.uri)}") from error

    def connect(self) -> "MlflowClient":
        """MLflow's client of this store; imports MLflow the first time.

        Raises:
            TrackingError: there is no such kind of store.
        """
        if self._client is None:
            with self.translated(f"opening {self.shown}"):
                mlflow = _import_mlflow(self.uri)
                mlflow.set_tracking_uri(self.uri)  # parts of the file store read the global one
                self._client = mlflow.MlflowClient(self.uri)
        return self._client

    def prepare(self) -> None:
        """Connects for a training. In an empty database MLflow makes its tables: one training at a time, for two at
        once fail at it.

        Raises:
            TrackingError: there is no such kind of store, or it can't be opened.
        """
        with self.translated(f"opening {self.shown}"):
            _import_mlflow(self.uri)
            with contextlib.nullcontext() if self.files else self.lock():
                self.connect()

    # -- the way back: what is live, and its release

    def champion(self) -> RegisteredVersion:
        """The version that is live.

        Raises:
            NoModelError: nothing is registered, or nothing carries the alias.
            TrackingError: the store can't be asked, or the version isn't one of this project's.
        """
        self._there()
        found = self._carrying(self.alias)
        if found is None:
            raise NoModelError(self._no_champion())
        return found

    def challenger(self) -> RegisteredVersion | None:
        """The version that is marked as the challenger.

        Raises:
            TrackingError: as for `champion`.
        """
        return self._carrying(self.challenger_alias)

    def _carrying(self, alias: str) -> RegisteredVersion | None:
        with self.translated(f"asking {self.shown} for {self.model_name}@{alias}"):
            if self.files:
                if not self.files.has_alias(self.model_name, alias):
                    return None
                version = self.files.aliased(self.model_name, alias, (VERSION_TAG, CHECKSUM_TAG))
                if version:
                    return self._registered(version.number, version.run_id, version.tags)
            from mlflow.exceptions import MlflowException

            try:
                found = self.connect().get_model_version_by_alias(self.model_name, alias)
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise
        return self._registered(str(found.version), found.run_id, found.tags)

    def _there(self) -> None:
        database = database_file(self.uri)
        place = self.files.folder if self.files else database
        if place and not place.exists() and self.remembered():
            raise TrackingError(f"{self.shown} isn't there any more")
        models = self.files.models() if self.files else []
        if (self.files and self.model_name not in models) or (database and not database.exists()):
            # asking MLflow would make folders or a database, and who only reads makes none
            others = f" as {self.model_name}; there are {', '.join(models)} (TABSERVE_MODEL_NAME)" if models else ""
            raise NoModelError(f"No model has been trained yet{others}. {HOW_TO_TRAIN}")

    def _no_champion(self) -> str:
        return (
            f"No version of {self.model_name} carries the alias '{self.alias}'. {HOW_TO_TRAIN} "
            "Or give the alias to a version in the MLflow UI."
        )

    def _registered(self, number: str, run_id: str, tags: Mapping[str, str]) -> RegisteredVersion:
        if not _is_ours(tags):
            raise TrackingError(
                f"version {number} of {self.model_name} was not registered by train_model.py, for its tags "
                f"{VERSION_TAG} and {CHECKSUM_TAG} don't say so. Give the alias to a version that was"
            )
        return RegisteredVersion(tags[VERSION_TAG], number, run_id, tags[CHECKSUM_TAG])

    def fetch(self, version: RegisteredVersion) -> Release:
        """The release of a version, from `artifacts/` if it is there unaltered, else from the run's artifacts.

        Raises:
            ReleaseError: it is in neither place as it was registered.
            TrackingError: the store can't be reached.
        """
        try:
            found = self.cached(version)
        except ReleaseError as local:
            try:
                found = self._fetch_from_run(version)
            except ReleaseError as error:
                raise ReleaseError(f"{error}; and {local}") from error
        if found.model_version != version.model_version:
            raise ReleaseError(
                f"the release registered as {version.model_version} says that it is {found.model_version}"
            )
        return found

    def cached(self, version: RegisteredVersion) -> Release:
        """The release of a version from `artifacts/` alone.

        Raises:
            ReleaseError: it isn't there as it was registered.
        """
        return release.read(self.artifacts / version.model_version / RELEASE, version.checksum)

    def remember(self, version: RegisteredVersion) -> None:
        """Keeps in `artifacts/` which versions were live here, for a start without the registry. Where that can't be
        written, nothing is remembered."""
        aside = self._memory.with_suffix(".new")
        with contextlib.suppress(OSError), FileLock(self._memory.with_suffix(".lock")):
            others = [known for known in self.remembered() if known.checksum != version.checksum]
            content = json.dumps([asdict(known) for known in [version, *others][:REMEMBERED]])
            aside.write_text(content, encoding="utf-8")
            aside.replace(self._memory)

    def remembered(self) -> list[RegisteredVersion]:
        """The versions that were live here, the last one first."""
        try:
            return _KNOWN.validate_json(self._memory.read_bytes(), strict=True)
        except (OSError, ValidationError):
            return []

    @property
    def _memory(self) -> Path:
        """The file of this model, alias and store. A folder is the same store in a container, at another place."""
        store = "folder" if self.files else self.uri
        key = f"{self.model_name} {self.alias} {store}".encode()
        return self.artifacts / f".live-{release.sha256(key)[:12]}.json"

    def _fetch_from_run(self, version: RegisteredVersion) -> Release:
        with self.translated(f"fetching the release of run {version.run_id} from {self.shown}"):
            location = self.connect().get_run(version.run_id).info.artifact_uri
            local = self._local(location)
            if local is not None:
                return release.read(local / RELEASE, version.checksum)
            with tempfile.TemporaryDirectory() as folder:
                self.connect().download_artifacts(version.run_id, RELEASE, folder)
                found = release.read(Path(folder) / RELEASE, version.checksum)
                if found.model_version == version.model_version:
                    artifacts.cache(self.artifacts, version.model_version, Path(folder) / RELEASE)
                return found

    def _local(self, location: str) -> Path | None:
        """The folder that an artifact location means, if it is one on this machine."""
        if location.startswith("file://"):
            return Path(unquote(urlsplit(location).path))
        return self.files.path(location) if self.files and ":" not in location else None

    # -- which is live, and how it came to be

    def versions(self) -> list[ListedVersion]:
        """Every registered version that train_model.py made, the newest first.

        Raises:
            NoModelError: nothing is registered.
        """
        self._there()
        with self.translated(f"asking {self.shown} for the versions of {self.model_name}"):
            aliases = self._aliases()
            found = self.connect().search_model_versions(f"name = '{self.model_name}'", max_results=1000)
            ours = [version for version in found if _is_ours(version.tags)]
            return [
                ListedVersion(
                    version=self._registered(str(version.version), version.run_id, version.tags),
                    created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
                    aliases=tuple(alias for alias, number in aliases.items() if number == str(version.version)),
                )
                for version in sorted(ours, key=lambda version: -int(version.version))
            ]

    def metrics(self, version: RegisteredVersion) -> dict[str, float]:
        """The metrics of the version's run; none if that is gone."""
        from mlflow.exceptions import MlflowException

        with self.translated(f"asking {self.shown} for run {version.run_id}"):
            try:
                return dict(self.connect().get_run(version.run_id).data.metrics)
            except MlflowException:
                return {}

    def journal(self) -> list[Deployment]:
        """The moves of the aliases that were written down, the first one first."""
        if self.files:
            return journal.read(self.files.model_tags(self.model_name, journal.PREFIX))
        with self.translated(f"asking {self.shown} for the journal of {self.model_name}"):
            return journal.read(self.connect().get_registered_model(self.model_name).tags)

    def move(self, alias: str, to: RegisteredVersion | None, why: str, *, rollback: bool = False) -> Deployment:
        """Gives the alias to a version, or takes it away, and writes that down: the alias first, for it is the truth.
        What nobody wrote down before is written down now, too."""
        with self.translated(f"moving the alias '{alias}'"), self.lock():
            before = self._sync(alias)
            number = to.registry_version if to else None
            made = journal.next_move(before, alias, number, journal.whoami(), why, rollback=rollback)
            if to and self.files:
                self.files.set_alias(self.model_name, alias, to.registry_version)
            elif to:
                self.connect().set_registered_model_alias(self.model_name, alias, to.registry_version)
            else:
                self.connect().delete_registered_model_alias(self.model_name, alias)
            with self.translated(f"'{alias}' is on {number or 'no version'} now; writing that into the journal"):
                self._write(made)
                if to:
                    said = f"{made.when} by {made.who}: {made.why}"
                    self.connect().set_model_version_tag(self.model_name, to.registry_version, f"last_{alias}", said)
            if to and alias == self.alias:
                self.remember(to)
                if self._aliases().get(self.challenger_alias) == number:  # else a rollback would leave it answering
                    self._take_away(self.challenger_alias, f"version {number} is live")
        return made

    def _take_away(self, alias: str, why: str) -> None:
        before = self._sync(alias)
        self.connect().delete_registered_model_alias(self.model_name, alias)
        self._write(journal.next_move(before, alias, None, journal.whoami(), why))

    def sync(self) -> list[Deployment]:
        """The journal, after moves that nobody wrote down have been, of what is live and of the challenger."""
        with self.translated(f"writing the journal of {self.model_name}"), self.lock():
            self._sync(self.alias)
            return self._sync(self.challenger_alias)

    def deployments(self) -> list[Deployment]:
        """The journal, once it says what is champion now; where it can't be written to, as it should be."""
        moves = self.journal()
        # asked once the journal has been read: the alias may have gone on, and that have been written down, since
        champion = self.champion()
        if journal.unwritten(moves, self.alias, champion.registry_version) is None:
            return moves
        time.sleep(PATIENCE)  # whoever moved the alias may be about to write it down; in a file store the lock says so
        with self.translated(f"writing the journal of {self.model_name}"):
            try:
                with self.lock(PATIENCE):
                    return self._written(self.alias, self.champion().registry_version)
            except OSError:  # a folder that is mounted read-only, or a training that hangs with the lock
                missing = journal.unwritten(moves, self.alias, champion.registry_version)
                return [*moves, missing] if missing else moves

    def _sync(self, alias: str) -> list[Deployment]:
        return self._written(alias, self._aliases().get(alias))

    def _written(self, alias: str, to: str | None) -> list[Deployment]:
        moves = self.journal()
        missing = journal.unwritten(moves, alias, to)
        if missing:
            self._write(missing)
            moves.append(missing)
        return moves

    def _write(self, move: Deployment) -> None:
        key, text = journal.entry(move)
        if self.files:  # a server that follows one hasn't imported MLflow, and need not for this
            self.files.add_model_tag(self.model_name, key, text)
        else:
            self.connect().set_registered_model_tag(self.model_name, key, text)

    def _aliases(self) -> dict[str, str]:
        found = self.connect().get_registered_model(self.model_name).aliases
        return {alias: str(number) for alias, number in found.items()}

    # -- clearing up

    def prune(self, keep: int, *, registry: bool) -> Iterator[tuple[ListedVersion, int]]:
        """Removes versions from `artifacts/`, and from the registry if that is wanted: each that was there, and how
        many bytes it had in `artifacts/`. In MLflow they, their runs and models are marked as deleted, as by its UI.

        Those stay that are the newest `keep`, carry an alias, are what a rollback leads to, or share their run or their
        name with one that stays.

        Raises:
            NoModelError: nothing is registered.
        """
        with self.translated(f"removing versions of {self.model_name}"), self.lock():
            self._sync(self.alias)
            versions, moves = self.versions(), self._sync(self.challenger_alias)
            known = {listed.version.registry_version for listed in versions}
            wanted = {listed.version.registry_version for listed in versions[:keep]}
            for alias in {move.alias for move in moves}:
                wanted |= set([number for number in journal.previous(moves, alias) if number in known][:1])
            names = {listed.version.model_version for listed in versions if listed.version.registry_version in wanted}
            for listed in versions:
                version = listed.version
                # asked anew each time: somebody may move an alias in MLflow meanwhile
                wanted |= set(self._aliases().values())
                if version.registry_version in wanted or version.model_version in names or self._is_shared(version):
                    continue
                size = artifacts.remove(self.artifacts, version.model_version)
                if registry:
                    self._unregister(version)
                if size or registry:
                    yield listed, size

    def _is_shared(self, version: RegisteredVersion) -> bool:
        """Whether another registered version is of the same run: a copy under another name, for instance."""
        found = self.connect().search_model_versions(f"run_id = '{version.run_id}'")
        return {(one.name, str(one.version)) for one in found} != {(self.model_name, version.registry_version)}

    def _unregister(self, version: RegisteredVersion) -> None:
        client = self.connect()
        with _unless_gone():
            run = client.get_run(version.run_id)
            for made in run.outputs.model_outputs:
                with _unless_gone():
                    client.delete_logged_model(made.model_id)
            trials = f"tags.`mlflow.parentRunId` = '{version.run_id}'"
            for trial in client.search_runs([run.info.experiment_id], trials):
                with _unless_gone():
                    client.delete_run(trial.info.run_id)
            client.delete_run(version.run_id)
        # last: if the way here is cut, the next time finds the version again
        client.delete_model_version(self.model_name, version.registry_version)

    # -- the way there

    def has_version(self, model_version: str) -> bool:
        """Whether a version has this name already: of another machine, or from before the clock went back."""
        with self.translated(f"asking {self.shown} for {model_version}"):
            if self.files:
                return self.files.has_tag(VERSION_TAG, model_version)
            found = self.connect().search_model_versions(f"name = '{self.model_name}'", max_results=1000)
            return any(version.tags.get(VERSION_TAG) == model_version for version in found)

    def register(self, run_id: str, model: Any, tags: Mapping[str, str], description: str) -> RegisteredVersion:
        """Makes a logged model the next version in the registry; see `Run.register`."""
        from mlflow.exceptions import MlflowException

        if self.files:  # again and again it would leave one half version after the other, and hide what is wrong
            module = importlib.import_module("mlflow.store.model_registry.file_store")
            module.FileStore.CREATE_MODEL_VERSION_RETRIES = 1
        with self.lock():
            self._repair()
            try:
                self.connect().get_registered_model(self.model_name)
            except MlflowException:
                self.connect().create_registered_model(self.model_name, description=self._description())
            version = self.connect().create_model_version(
                self.model_name,
                source=model.model_uri,
                run_id=run_id,
                tags=dict(tags),
                description=description,
                model_id=model.model_id,
            )
        return self._registered(str(version.version), run_id, tags)

    def mark_killed(self, model_version: str, token: str) -> None:
        """Mends what a training left that failed or was killed, and marks its run as KILLED if it is still RUNNING.

        Another machine may train under the same name: the run is known by the token of its draft. In a file store that
        tag may be missing yet, or empty, but all who train there claim their names in the same `artifacts`. The names
        of the trials of its search begin with its own.
        """
        with self.translated(f"repairing what the training {model_version} left"), self.lock():
            if self.files:
                self.files.repair_experiments()
                self.files.repair_runs()
            experiments = [experiment.experiment_id for experiment in self.connect().search_experiments()]
            named = self.connect().search_runs(experiments, f"attributes.run_name LIKE '{model_version}%'")
            own = re.compile(rf"{model_version}( trial \d+)?")
            runs = [
                run
                for run in named
                if own.fullmatch(run.info.run_name)
                and (run.data.tags.get(TOKEN_TAG) or (token if self.files else None)) == token
            ]
            for run in runs:
                if run.info.status == "RUNNING":
                    self.connect().set_terminated(run.info.run_id, "KILLED")
            if self.files:
                self.files.repair_versions([run.info.run_id for run in runs], (VERSION_TAG, CHECKSUM_TAG))

    def repair(self) -> bool:
        """Mends what a killed training left of the registry in a file store; False for a store that has no need."""
        with self.translated("repairing the registry"), self.lock():
            return self._repair()

    def _repair(self) -> bool:
        if self.files:
            self.files.repair_model(self.model_name, self._description())
        return self.files is not None

    def _description(self) -> str:
        return f"Versions made by train_model.py. The one with the alias `{self.alias}` is what the API serves."

    @contextlib.contextmanager
    def lock(self, patience: float = -1) -> Iterator[None]:
        """Around several writes: all who share `artifacts` take turns. Those that share a database or a server only
        have its transactions, one a write.

        Raises:
            OSError: another one still has it after `patience` seconds (-1: never), or the folder can't be written.
        """
        with contextlib.ExitStack() as stack:
            if self.files:
                stack.enter_context(self.files.lock(patience))
            else:
                self.artifacts.mkdir(parents=True, exist_ok=True)
                stack.enter_context(FileLock(self.artifacts / ".registry.lock", timeout=patience))
            yield
