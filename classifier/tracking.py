"""MLflow: runs, registered versions, the alias that says what is live, and the way back from there to a release.

The only door to MLflow, and it works alike on a folder, a database and a tracking server. Knows no estimator logic:
what it logs is handed to it. MLflow is imported on first use, for it costs a second that a caller may want to spend
beside something else.

What a file store needs besides is `classifier.filestore`'s.
"""

import contextlib
import importlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from classifier import release
from classifier.errors import ClassifierError, NoModelError, ReleaseError, TrackingError
from classifier.filestore import FileStore
from classifier.release import RegisteredVersion, Release
from classifier.settings import Settings, database_file, redacted, store_folder, without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient

RELEASE = "release"
"""Folder of the release among a run's artifacts, and in `artifacts/<model_version>/`."""

UI = "http://localhost:5000"
"""Where `mlflow ui` listens unless it is told otherwise."""

VIEW = "quality"
"""Key of the experiment's view with the columns that a person wants to see."""

VERSION_TAG, CHECKSUM_TAG = "model_version", "release_sha256"

MLFLOW_DEFAULTS = {
    "MLFLOW_ALLOW_FILE_STORE": "true",  # since 3.13 MLflow wants to be told that a folder is meant
    "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",  # this one and the next spare stalls on a machine without a network
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # with MLflow's own 7 a server that is away is said after 4 minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # the summary has the addresses
}
"""MLflow's own settings, where the environment leaves them open."""

DATABASE_TRIES = 4
"""How often a database is tried, a second in all. MLflow's own 10 take 105 s, and it offers no setting for them."""

HOW_TO_TRAIN = "Run `python train_model.py`; this server picks the model up by itself."


def _import_mlflow() -> Any:
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
    mlflow = importlib.import_module("mlflow")
    vars(importlib.import_module("mlflow.store.db.utils"))["MAX_RETRY_COUNT"] = DATABASE_TRIES
    for name in ("mlflow", "urllib3"):  # afterwards: the import sets it too
        # urllib3 warns of every retry, again and again while a server is away
        logging.getLogger(name).setLevel(logging.ERROR)
    return mlflow


def _reason(error: Exception) -> str:
    """The first line of an error, after what the system said of its cause, which a long line has at its end."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    cause: BaseException = error
    while deeper := cause.__cause__ or cause.__context__:
        cause = deeper
    system = cause.strerror if isinstance(cause, OSError) else None
    return said if not system or system in said else f"{system}: {said}"


class Store:
    """The MLflow store that the settings name, seen as this project uses it."""

    def __init__(self, settings: Settings) -> None:
        self._uri = settings.tracking_uri
        self.shown = redacted(settings.tracking_uri)
        self.model_name, self.alias = settings.model_name, settings.model_alias
        self.artifacts = settings.artifacts_dir
        folder = store_folder(settings.tracking_uri)
        self._files = FileStore(folder, self.artifacts) if folder else None
        self._client: MlflowClient | None = None

    @contextlib.contextmanager
    def translated(self, doing: str) -> Iterator[None]:
        """Turns what MLflow, its database or the file system raises into a TrackingError that says what was being done.
        Its message holds no credentials of the store."""
        try:
            yield
        except ClassifierError:
            raise
        except Exception as error:
            raise TrackingError(f"{doing} failed: {without_secrets(_reason(error), self._uri)}") from error

    def connect(self) -> "MlflowClient":
        """MLflow's client of this store; imports MLflow the first time.

        Raises:
            TrackingError: there is no such kind of store.
        """
        if self._client is None:
            with self.translated(f"opening {self.shown}"):
                mlflow = _import_mlflow()
                mlflow.set_tracking_uri(self._uri)  # parts of the file store read the global one
                self._client = mlflow.MlflowClient(self._uri)
        return self._client

    # -- the way back: what is live, and its release

    def champion(self) -> RegisteredVersion:
        """The version that carries the alias.

        Raises:
            NoModelError: nothing is registered, or nothing carries the alias.
            TrackingError: the store can't be asked, or the version isn't one of this project's.
        """
        database = database_file(self._uri)
        if (self._files and not self._files.has_model(self.model_name)) or (database and not database.exists()):
            # asking MLflow would make folders or a database, and a server that only reads makes none
            raise NoModelError(f"No model has been trained yet. {HOW_TO_TRAIN}")
        with self.translated(f"asking {self.shown} for {self.model_name}@{self.alias}"):
            if self._files:
                if not self._files.has_alias(self.model_name, self.alias):
                    raise NoModelError(self._no_champion())
                version = self._files.aliased(self.model_name, self.alias, (VERSION_TAG, CHECKSUM_TAG))
                if version:
                    return self._registered(version.number, version.run_id, version.tags)
            from mlflow.exceptions import MlflowException

            try:
                found = self.connect().get_model_version_by_alias(self.model_name, self.alias)
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise NoModelError(self._no_champion()) from error
                raise
        return self._registered(str(found.version), found.run_id, found.tags)

    def _no_champion(self) -> str:
        return (
            f"No version of {self.model_name} carries the alias '{self.alias}'. {HOW_TO_TRAIN} "
            "Or give the alias to a version in the MLflow UI."
        )

    def _registered(self, number: str, run_id: str, tags: Mapping[str, str]) -> RegisteredVersion:
        try:
            return RegisteredVersion(tags[VERSION_TAG], number, run_id, tags[CHECKSUM_TAG])
        except KeyError as error:
            raise TrackingError(
                f"version {number} of {self.model_name} has no tag {error}: it was not registered by "
                f"train_model.py. Give the alias '{self.alias}' to a version that was"
            ) from error

    def fetch(self, version: RegisteredVersion) -> Release:
        """The release of a version, from `artifacts/` if it is there unaltered, else from the run's artifacts.

        Raises:
            ReleaseError: it is in neither place as it was registered.
            TrackingError: the store can't be reached.
        """
        try:
            found = release.read(self.artifacts / version.model_version / RELEASE, version.checksum)
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

    def _fetch_from_run(self, version: RegisteredVersion) -> Release:
        with self.translated(f"fetching the release of run {version.run_id} from {self.shown}"):
            location = self.connect().get_run(version.run_id).info.artifact_uri
            local = self._local(location)
            if local is not None:
                return release.read(local / RELEASE, version.checksum)
            with tempfile.TemporaryDirectory() as folder:
                self.connect().download_artifacts(version.run_id, RELEASE, folder)
                return release.read(Path(folder) / RELEASE, version.checksum)

    def _local(self, location: str) -> Path | None:
        """The folder that an artifact location means, if it is one on this machine."""
        if location.startswith("file://"):
            return Path(unquote(urlsplit(location).path))
        return self._files.path(location) if self._files and ":" not in location else None

    # -- the way there: runs and versions

    def has_version(self, model_version: str) -> bool:
        """Whether a run has this name already; asked only of stores that several machines may share."""
        if self._files:
            return False
        with self.translated(f"asking {self.shown} for {model_version}"):
            found = self.connect().search_model_versions(f"name = '{self.model_name}'", max_results=1000)
            return any(version.tags.get(VERSION_TAG) == model_version for version in found)

    @contextlib.contextmanager
    def start_run(self, experiment: str, model_version: str, columns: Sequence[str]) -> Iterator["Run"]:
        """A run named after the model version: FAILED if the block raises, KILLED if it is interrupted, and left
        RUNNING until `Run.finish` says otherwise.

        `columns`, such as ``metrics.`test_accuracy` ``, are what `Run.page` shows of each run of the experiment.
        The block runs in the parent folder of a file store, for that is what its relative locations are relative to.

        Raises:
            TrackingError: the store can't be written.
        """
        with contextlib.ExitStack() as stack:
            with self.translated(f"starting a run in {self.shown}"):
                if self._files:
                    self._files.folder.mkdir(parents=True, exist_ok=True)
                    stack.enter_context(contextlib.chdir(self._files.folder.parent))
                experiment_id = self._experiment(experiment)
                import mlflow

                self.connect().set_experiment_tag(experiment_id, f"mlflow.sharedViewState.{VIEW}", _view(columns))
                active = mlflow.start_run(experiment_id=experiment_id, run_name=model_version)
            run = Run(self, active.info.run_id, experiment_id, model_version)
            try:
                yield run
            except BaseException as error:
                with contextlib.suppress(Exception):  # the first failure is the one to report
                    mlflow.end_run("FAILED" if isinstance(error, Exception) else "KILLED")
                raise

    def promote(self, version: RegisteredVersion) -> None:
        """Moves the alias: from now on this version is the live one."""
        with self.translated(f"moving the alias '{self.alias}'"), self._lock():
            self.connect().set_registered_model_alias(self.model_name, self.alias, version.registry_version)

    def register(self, run_id: str, model: Any, tags: Mapping[str, str], description: str) -> RegisteredVersion:
        """Makes a logged model the next version in the registry; see `Run.register`."""
        from mlflow.exceptions import MlflowException

        with self._lock():
            self._mend()
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

    def mend(self) -> bool:
        """Mends what a killed training left of the registry in a file store; False for a store that has no need."""
        with self.translated("mending the registry"), self._lock():
            return self._mend()

    def _mend(self) -> bool:
        if self._files:
            self._files.mend_model(self.model_name, self._description())
        return self._files is not None

    def _description(self) -> str:
        return f"Versions made by train_model.py. The one with the alias `{self.alias}` is what the API serves."

    def _lock(self) -> contextlib.AbstractContextManager[None]:
        """A database and a server have transactions; a file store has none."""
        return self._files.lock() if self._files else contextlib.nullcontext()

    def _experiment(self, name: str) -> str:
        """The experiment's id; made if need be.

        Of SQLite, MLflow would put the artifacts below the working directory; they belong beside the file.
        """
        with self._lock():
            found = self.connect().get_experiment_by_name(name)
            database = database_file(self._uri)
            location = (database.parent / "mlartifacts").as_uri() if database else None
            experiment_id = str(found.experiment_id if found else self.connect().create_experiment(name, location))
            if self._files:
                self._files.make_movable(experiment_id)
        return experiment_id

    @contextlib.contextmanager
    def mended_datasets(self) -> Iterator[None]:
        """What a kill left of a dataset in a file store is out of the way, and no one else writes one meanwhile."""
        with self._lock():
            if self._files:
                self._files.mend_datasets()
            yield


def _view(columns: Sequence[str]) -> str:
    """A view of an experiment's runs as MLflow's UI keeps one that a person shares: the newest first, with `columns`.

    By itself the UI shows no metric at all. The format is MLflow's own; a version that doesn't know it leaves the tag
    alone and shows its usual columns.
    """
    state = {"orderByKey": "attributes.start_time", "orderByAsc": False, "selectedColumns": list(columns)}
    return json.dumps({"name": "Model quality", "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)})


def _spaced(markdown: str) -> str:
    """Keeps the cells of tables apart in MLflow's descriptions, which show tables without any style."""
    return re.sub(r" \|(?= \S)", "&emsp; |", markdown)


class Run:
    """A run in the making. All is logged before `register`; `finish` marks it FINISHED.

    Every method raises TrackingError if the store can't take what it is given.
    """

    def __init__(self, store: Store, run_id: str, experiment_id: str, model_version: str) -> None:
        self._store, self.run_id, self.model_version = store, run_id, model_version
        ui = store.shown if store.shown.startswith("http") else UI
        self.page = f"{ui}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}"

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Logs hyperparameters and data facts; the model takes them over, so they come before it."""
        with self._store.translated("logging to MLflow"):
            import mlflow

            mlflow.log_params(dict(parameters))

    def log_metrics(self, metrics: Mapping[str, float], model: Any) -> None:
        """Logs metrics of the run and of its model. After `log_model`, which would log the run's once more."""
        with self._store.translated("logging to MLflow"):
            import mlflow

            mlflow.log_metrics(dict(metrics), model_id=model.model_id)

    def log_folds(self, folds: Mapping[str, list[float]]) -> None:
        """Logs each fold's metrics as `fold_<metric>`, steps 0, 1, 2 …"""
        with self._store.translated("logging to MLflow"):
            import mlflow

            for name, values in folds.items():
                for step, value in enumerate(values):
                    mlflow.log_metric(f"fold_{name}", value, step=step)

    def tag(self, tags: Mapping[str, str], libraries: Mapping[str, str], note: str) -> None:
        """Sets tags, `version_<library>` too, and the Markdown that MLflow's UI shows as the run's description."""
        with self._store.translated("logging to MLflow"):
            import mlflow

            versions = {f"version_{name}": version for name, version in libraries.items()}
            mlflow.set_tags({VERSION_TAG: self.model_version, **tags, **versions, "mlflow.note.content": _spaced(note)})

    def log_dataset(self, frame: Any, target: str, name: str, context: str) -> None:
        """Logs a pandas DataFrame as an input of the run; MLflow keeps its schema, profile and digest, not its rows."""
        with self._store.translated("logging to MLflow"):
            import mlflow

            dataset = mlflow.data.from_pandas(frame, targets=target, name=name)
            with self._store.mended_datasets():
                mlflow.log_input(dataset, context=context)

    def log_folder(self, folder: Path) -> None:
        """Logs every file below `folder` as an artifact of the run, under the same relative path."""
        with self._store.translated("logging to MLflow"):
            import mlflow

            mlflow.log_artifacts(str(folder))

    def log_model(self, pipeline: Any, rows: Any, answers: Any, trusted: list[str], requirements: list[str]) -> Any:
        """Logs a scikit-learn pipeline with skops, with a signature and an input example from `rows` and `answers`.

        `trusted` names the types that skops can't vouch for; with `requirements` given, MLflow needn't start a second
        interpreter to find them out (7 s).
        """
        with self._store.translated("logging to MLflow"):
            import mlflow.sklearn
            from mlflow.models import infer_signature

            return mlflow.sklearn.log_model(
                pipeline,
                name="model",
                serialization_format="skops",
                skops_trusted_types=trusted,
                signature=infer_signature(rows, answers.to_numpy()),
                input_example=rows.head(2),
                pip_requirements=requirements,
            )

    def register(self, model: Any, made: Release, description: str) -> RegisteredVersion:
        """Registers what `log_model` gave as the next version, tagged with the release that belongs to it."""
        with self._store.translated("registering the model in MLflow"):
            tags = {VERSION_TAG: self.model_version, CHECKSUM_TAG: made.checksum}
            return self._store.register(self.run_id, model, tags, description)

    def finish(self) -> None:
        with self._store.translated("logging to MLflow"):
            import mlflow

            mlflow.end_run("FINISHED")
