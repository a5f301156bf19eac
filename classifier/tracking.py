"""MLflow: runs, registered versions, the alias that says what is live, and the way back from there to a release.

The only door to MLflow, and it works alike on a folder, a database and a tracking server. Knows no estimator logic:
what it logs is handed to it. MLflow is imported on first use, for it costs a second that a caller may want to spend
beside something else.

What a file store needs besides, and why, stands with `Store._experiment` (folders that can move) and
`Store._mend_registry` (a registry that a killed training left broken).
"""

import contextlib
import importlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock

from classifier import release
from classifier.errors import ClassifierError, NoModelError, ReleaseError, TrackingError
from classifier.release import RegisteredVersion, Release
from classifier.settings import Settings, store_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient

RELEASE = "release"
"""Folder of the release among a run's artifacts, and in `artifacts/<model_version>/`."""

UI = "http://localhost:5000"
"""Where `mlflow ui` listens unless it is told otherwise."""

VIEW = "quality"
"""Key of the experiment's view with the columns that a person wants to see."""

VERSION_TAG, CHECKSUM_TAG = "model_version", "release_sha256"


@contextlib.contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Turns what MLflow, its database or the file system raises into a TrackingError that says what was being done."""
    try:
        yield
    except ClassifierError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise TrackingError(f"{doing} failed: {reason}") from error


class Store:
    """The MLflow store that the settings name, seen as this project uses it."""

    def __init__(self, settings: Settings) -> None:
        self.uri = settings.tracking_uri
        self.model_name, self.alias = settings.model_name, settings.model_alias
        self.artifacts = settings.artifacts_dir
        self.folder = store_folder(settings.tracking_uri)
        self._client: MlflowClient | None = None

    def connect(self) -> "MlflowClient":
        """MLflow's client of this store; imports MLflow the first time.

        Raises:
            TrackingError: there is no such kind of store.
        """
        if self._client is None:
            with _translated(f"opening {self.uri}"):
                mlflow = _import_mlflow()
                mlflow.set_tracking_uri(self.uri)  # parts of the file store read the global one
                self._client = mlflow.MlflowClient(self.uri)
        return self._client

    # -- the way back: what is live, and its release

    def champion(self) -> RegisteredVersion:
        """The version that carries the alias.

        Raises:
            NoModelError: nothing is registered, or nothing carries the alias.
            TrackingError: the store can't be asked, or the version isn't one of this project's.
        """
        if self.folder is not None and not (self.folder / "models" / self.model_name).is_dir():
            # asking MLflow would make folders, and a server that only reads makes none
            raise NoModelError(f"No model has been trained yet. {HOW_TO_TRAIN}")
        with _translated(f"asking {self.uri} for {self.model_name}@{self.alias}"):
            from mlflow.exceptions import MlflowException

            try:
                found = self.connect().get_model_version_by_alias(self.model_name, self.alias)
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise NoModelError(
                        f"No version of {self.model_name} carries the alias '{self.alias}'. {HOW_TO_TRAIN} "
                        "Or give the alias to a version in the MLflow UI."
                    ) from error
                raise
        return self._registered(found)

    def _registered(self, found: Any) -> RegisteredVersion:
        try:
            return RegisteredVersion(
                found.tags[VERSION_TAG], str(found.version), found.run_id, found.tags[CHECKSUM_TAG]
            )
        except KeyError as error:
            raise TrackingError(
                f"version {found.version} of {self.model_name} has no tag {error}: it was not registered by "
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
        with _translated(f"fetching the release of run {version.run_id} from {self.uri}"):
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
            return Path(location.removeprefix("file://"))
        if self.folder is not None and ":" not in location:
            return self.folder.parent / location
        return None

    # -- the way there: runs and versions

    def has_version(self, model_version: str) -> bool:
        """Whether a run has this name already; asked only of stores that several machines may share."""
        if self.folder is not None:
            return False
        with _translated(f"asking {self.uri} for {model_version}"):
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
            with _translated(f"starting a run in {self.uri}"):
                if self.folder is not None:
                    stack.enter_context(contextlib.chdir(self._made(self.folder).parent))
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
        with _translated(f"moving the alias '{self.alias}'"), self._registry_lock():
            self.connect().set_registered_model_alias(self.model_name, self.alias, version.registry_version)

    def register(self, run_id: str, model: Any, tags: Mapping[str, str], description: str) -> RegisteredVersion:
        """Makes a logged model the next version in the registry; see `Run.register`."""
        from mlflow.exceptions import MlflowException

        with self._registry_lock():
            self._mend_registry()
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
        return self._registered(version)

    def _description(self) -> str:
        return f"Versions made by train_model.py. The one with the alias `{self.alias}` is what the API serves."

    def _registry_lock(self) -> contextlib.AbstractContextManager[Any]:
        """A file store has no transactions: two trainings that register at once would take the same number."""
        if self.folder is None:
            return contextlib.nullcontext()
        return FileLock(self._made(self.artifacts) / ".registry.lock")

    @staticmethod
    def _made(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _experiment(self, name: str) -> str:
        """The experiment's id; made if need be.

        In a file store its artifact location is made relative while nothing has been logged to it: MLflow stores the
        absolute path, hands it down to every run, and then nothing is found once the folder is renamed, moved or
        mounted elsewhere. All that is logged afterwards inherits the relative one.
        """
        with self._registry_lock():
            found = self.connect().get_experiment_by_name(name)
            experiment_id = str(found.experiment_id) if found else self.connect().create_experiment(name)
            if self.folder is not None:
                meta = self.folder / experiment_id / "meta.yaml"
                content = yaml.safe_load(meta.read_text(encoding="utf-8"))
                movable = f"{self.folder.name}/{experiment_id}"
                untouched = not any(entry.is_dir() for entry in meta.parent.iterdir() if entry.name != "tags")
                if untouched and content["artifact_location"] != movable:
                    content["artifact_location"] = movable
                    aside = meta.with_name(".meta.yaml.new")
                    aside.write_text(yaml.safe_dump(content), encoding="utf-8")
                    aside.replace(meta)
        return experiment_id

    @contextlib.contextmanager
    def repaired_datasets(self) -> Iterator[None]:
        """Removes what a kill left of a dataset in a file store, and lets no one else write one meanwhile. MLflow names
        its folder after the content, and refuses ever after to log a dataset whose folder has no `meta.yaml`."""
        with self._registry_lock():
            for dataset in self.folder.glob("*/datasets/*") if self.folder else ():
                if not _is_whole(dataset / "meta.yaml"):
                    shutil.rmtree(dataset)
            yield

    def _mend_registry(self) -> None:
        """Removes what a training that was killed while registering left in a file store: a version, or a model, whose
        `meta.yaml` isn't whole. MLflow fails on every call as long as one is there. It holds nothing: the run and the
        release are elsewhere."""
        if self.folder is None:
            return
        model = self.folder / "models" / self.model_name
        for version in model.glob("version-*"):
            if not _is_whole(version / "meta.yaml"):
                shutil.rmtree(version)
        if model.is_dir() and not _is_whole(model / "meta.yaml") and not any(model.glob("version-*")):
            shutil.rmtree(model)


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
        ui = store.uri if store.uri.startswith("http") else UI
        self.page = f"{ui}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}"

    @_translated("logging to MLflow")
    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Logs hyperparameters and data facts; the model takes them over, so they come before it."""
        import mlflow

        mlflow.log_params(dict(parameters))

    @_translated("logging to MLflow")
    def log_metrics(self, metrics: Mapping[str, float], model: Any) -> None:
        """Logs metrics of the run and of its model. After `log_model`, which would log the run's once more."""
        import mlflow

        mlflow.log_metrics(dict(metrics), model_id=model.model_id)

    @_translated("logging to MLflow")
    def log_folds(self, folds: Mapping[str, list[float]]) -> None:
        """Logs each fold's metrics as `fold_<metric>`, steps 0, 1, 2 …"""
        import mlflow

        for name, values in folds.items():
            for step, value in enumerate(values):
                mlflow.log_metric(f"fold_{name}", value, step=step)

    @_translated("logging to MLflow")
    def tag(self, tags: Mapping[str, str], libraries: Mapping[str, str], note: str) -> None:
        """Sets tags, `version_<library>` too, and the Markdown that MLflow's UI shows as the run's description."""
        import mlflow

        versions = {f"version_{name}": version for name, version in libraries.items()}
        mlflow.set_tags({VERSION_TAG: self.model_version, **tags, **versions, "mlflow.note.content": _spaced(note)})

    @_translated("logging to MLflow")
    def log_dataset(self, frame: Any, target: str, name: str, context: str) -> None:
        """Logs a pandas DataFrame as an input of the run; MLflow keeps its schema, profile and digest, not its rows."""
        import mlflow

        dataset = mlflow.data.from_pandas(frame, targets=target, name=name)
        with self._store.repaired_datasets():
            mlflow.log_input(dataset, context=context)

    @_translated("logging to MLflow")
    def log_folder(self, folder: Path) -> None:
        """Logs every file below `folder` as an artifact of the run, under the same relative path."""
        import mlflow

        mlflow.log_artifacts(str(folder))

    @_translated("logging to MLflow")
    def log_model(self, pipeline: Any, rows: Any, answers: Any, trusted: list[str], requirements: list[str]) -> Any:
        """Logs a scikit-learn pipeline with skops, with a signature and an input example from `rows` and `answers`.

        `trusted` names the types that skops can't vouch for; with `requirements` given, MLflow needn't start a second
        interpreter to find them out (7 s).
        """
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

    @_translated("registering the model in MLflow")
    def register(self, model: Any, made: Release, description: str) -> RegisteredVersion:
        """Registers what `log_model` gave as the next version, tagged with the release that belongs to it."""
        tags = {VERSION_TAG: self.model_version, CHECKSUM_TAG: made.checksum}
        return self._store.register(self.run_id, model, tags, description)

    @_translated("logging to MLflow")
    def finish(self) -> None:
        import mlflow

        mlflow.end_run("FINISHED")


MLFLOW_DEFAULTS = {
    "MLFLOW_ALLOW_FILE_STORE": "true",  # since 3.13 MLflow wants to be told that a folder is meant
    "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",  # this one and the next spare stalls on a machine without a network
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # with MLflow's own 7 a server that is away is said after 4 minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""MLflow's own settings, where the environment leaves them open."""

HOW_TO_TRAIN = "Run `python train_model.py`; this server picks the model up by itself."


def _import_mlflow() -> Any:
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
    mlflow = importlib.import_module("mlflow")
    logging.getLogger("mlflow").setLevel(logging.ERROR)  # afterwards: the import sets it too
    return mlflow


def _is_whole(meta: Path) -> bool:
    try:
        content = yaml.safe_load(meta.read_text(encoding="utf-8"))
    except (FileNotFoundError, yaml.YAMLError, UnicodeDecodeError):
        return False
    return isinstance(content, dict) and "name" in content
