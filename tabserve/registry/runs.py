"""MLflow's runs: what a training logs, through the door that `tabserve.registry.registry` is.

Logs what it is handed; knows no estimator logic.
"""

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tabserve.model.release import Release
from tabserve.model.versions import RegisteredVersion
from tabserve.registry.registry import CHECKSUM_TAG, TOKEN_TAG, VERSION_TAG, Store
from tabserve.store_uri import database_file

UI = "http://localhost:5000"
"""Where `mlflow ui` listens unless it is told otherwise."""

VIEW = "quality"
"""Key of the experiment's view with the columns that a person wants to see."""


class Run:
    """A run in the making. All is logged before `register`; `finish` marks it FINISHED.

    Every method raises TrackingError if the store can't take what it is given.
    """

    def __init__(self, store: Store, run_id: str, experiment_id: str, model_version: str, token: str) -> None:
        self._store, self.run_id, self.model_version = store, run_id, model_version
        self.experiment_id, self._token = experiment_id, token
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

            mlflow.log_metrics(_named(metrics), model_id=model.model_id)

    def log_trial(
        self, number: int, parameters: Mapping[str, Any], metrics: Mapping[str, float], started: float
    ) -> None:
        """Logs a trial of a search as a run of its own below this one. `started`: `time.time()` when it began."""
        with self._store.translated("logging to MLflow"):
            from mlflow.entities import Metric, Param
            from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

            client, now = self._store.connect(), int(time.time() * 1000)
            trial = client.create_run(
                self.experiment_id,
                start_time=int(started * 1000),
                tags={MLFLOW_PARENT_RUN_ID: self.run_id, TOKEN_TAG: self._token},
                run_name=f"{self.model_version} trial {number}",
            ).info.run_id
            with _ended_badly(partial(client.set_terminated, trial)):
                client.log_batch(
                    trial,
                    [Metric(name, value, now, 0) for name, value in _named(metrics).items()],
                    [Param(name, str(value)) for name, value in parameters.items()],
                )
                client.set_terminated(trial)

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
            with _repaired_datasets(self._store):
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


@contextlib.contextmanager
def start(store: Store, experiment: str, model_version: str, token: str, columns: Sequence[str]) -> Iterator[Run]:
    """A run named after the model version: FAILED if the block raises, KILLED if it is interrupted, and left
    RUNNING until `Run.finish` says otherwise; or, by the `token` of its draft, a later training (`Store.mark_killed`).

    `columns`, such as ``metrics.`test_accuracy` ``, are what `Run.page` shows of each run of the experiment.
    The block runs in the parent folder of a file store, for that is what its relative locations are relative to.

    Raises:
        TrackingError: the store can't be written.
    """
    with contextlib.ExitStack() as stack:
        with store.translated(f"starting a run in {store.shown}"):
            if store.files:
                store.files.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(contextlib.chdir(store.files.folder.parent))
            experiment_id = _experiment(store, experiment)
            import mlflow

            store.connect().set_experiment_tag(experiment_id, f"mlflow.sharedViewState.{VIEW}", _view(columns))
            tags = {TOKEN_TAG: token}
            active = mlflow.start_run(experiment_id=experiment_id, run_name=model_version, tags=tags)
        run = Run(store, active.info.run_id, experiment_id, model_version, token)
        with _ended_badly(mlflow.end_run):
            yield run


@contextlib.contextmanager
def _ended_badly(end: Callable[[str], object]) -> Iterator[None]:
    """Ends a run as FAILED if the block raises, and as KILLED if it is interrupted."""
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(Exception):  # the first failure is the one to report
            end("FAILED" if isinstance(error, Exception) else "KILLED")
        raise


def _experiment(store: Store, name: str) -> str:
    """The experiment's id; made if need be.

    Of SQLite, MLflow would put the artifacts below the working directory; they belong beside the file.
    """
    with store.lock():
        if store.files:
            store.files.repair_experiments()
        found = store.connect().get_experiment_by_name(name)
        database = database_file(store.uri)
        location = (database.parent / "mlartifacts").as_uri() if database else None
        experiment_id = str(found.experiment_id if found else store.connect().create_experiment(name, location))
        if store.files:
            store.files.make_movable(experiment_id)
    return experiment_id


@contextlib.contextmanager
def _repaired_datasets(store: Store) -> Iterator[None]:
    """What a kill left of a dataset in a file store is out of the way, and no one else writes one meanwhile."""
    with store.lock():
        if store.files:
            store.files.repair_datasets()
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


def _named(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics under names that MLflow takes: classes and features may be called anything."""
    named: dict[str, float] = {}
    for name, value in metrics.items():
        plain = re.sub(r"[^\w.\- :]", "_", name)[:240]
        while plain in named:
            plain += "_"
        named[plain] = value
    return named
