"""MLflow's runs: what a training logs.

Logs what it is given, in the store of a `Registry`; knows no estimator.
"""

import contextlib
import json
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tabserve.model.release import Release
from tabserve.model.versions import RegisteredVersion
from tabserve.registry.artifact_packages import require_package
from tabserve.registry.base import DRAFT_TAG, Registry
from tabserve.registry.client import set_default_store
from tabserve.registry.reader import CHECKSUM_TAG, VERSION_TAG

UI = "http://localhost:5000"
"""Where `mlflow ui` listens by default."""

VIEW = "quality"
"""Key of the view of an experiment that shows the columns of interest."""


class Run:
    """An unfinished run. Everything is logged before `register`; `finish` marks it FINISHED.

    Every method raises TrackingError if the store refuses what is logged.
    """

    def __init__(self, registry: Registry, run_id: str, experiment_id: str, model_version: str, token: str) -> None:
        self._registry, self.run_id, self.model_version = registry, run_id, model_version
        self.experiment_id, self._token = experiment_id, token
        ui = registry.display_uri if registry.display_uri.startswith("http") else UI
        self.page = f"{ui}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}"

    @contextlib.contextmanager
    def _logging(self) -> Iterator[None]:
        with self._registry.translate_errors("logging to MLflow"), warnings.catch_warnings():
            # a hint for features that may be missing, which have doubles here; classes are whole numbers, too
            warnings.filterwarnings("ignore", "Hint: Inferred schema contains integer column", UserWarning)
            yield

    def show_columns(self, columns: Sequence[str]) -> None:
        """Sets what `page` shows of each run of the experiment: `columns` such as ``metrics.`test_accuracy` ``."""
        with self._logging():
            tag = f"mlflow.sharedViewState.{VIEW}"
            self._registry.connect().set_experiment_tag(self.experiment_id, tag, _view(columns))

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Logs hyperparameters and facts about the data. Before `log_model`, which copies them to the model."""
        with self._logging():
            import mlflow

            mlflow.log_params(dict(parameters))

    def log_metrics(self, metrics: Mapping[str, float], model: Any) -> None:
        """Logs metrics of the run and of its model. After `log_model`, which would log the run's metrics again."""
        with self._logging():
            import mlflow

            mlflow.log_metrics(_accepted_names(metrics), model_id=model.model_id)

    def log_trial(
        self, number: int, parameters: Mapping[str, Any], metrics: Mapping[str, float], started: float
    ) -> None:
        """Logs a trial of a search as a child run. `started`: `time.time()` when the trial started."""
        with self._logging():
            from mlflow.entities import Metric, Param
            from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

            client, now = self._registry.connect(), int(time.time() * 1000)
            trial = client.create_run(
                self.experiment_id,
                start_time=int(started * 1000),
                tags={MLFLOW_PARENT_RUN_ID: self.run_id, DRAFT_TAG: self._token},
                run_name=f"{self.model_version} trial {number}",
            ).info.run_id
            with _end_on_error(partial(client.set_terminated, trial)):
                client.log_batch(
                    trial,
                    [Metric(name, value, now, 0) for name, value in _accepted_names(metrics).items()],
                    [Param(name, str(value)) for name, value in parameters.items()],
                )
                client.set_terminated(trial)

    def log_folds(self, folds: Mapping[str, list[float]]) -> None:
        """Logs each fold's metrics as `fold_<metric>`, steps 0, 1, 2 …"""
        with self._logging():
            import mlflow

            for name, values in folds.items():
                for step, value in enumerate(values):
                    mlflow.log_metric(f"fold_{name}", value, step=step)

    def tag(self, tags: Mapping[str, str], libraries: Mapping[str, str], note: str) -> None:
        """Sets `tags`, a tag `version_<library>` for each library, and the run's description, in Markdown."""
        with self._logging():
            import mlflow

            versions = {f"version_{name}": version for name, version in libraries.items()}
            mlflow.set_tags(
                {VERSION_TAG: self.model_version, **tags, **versions, "mlflow.note.content": _with_space(note)}
            )

    def log_dataset(self, frame: Any, target: str, name: str, context: str) -> None:
        """Logs a pandas DataFrame as an input of the run; MLflow keeps its schema, profile and digest, not its rows."""
        with self._logging():
            import mlflow

            dataset = mlflow.data.from_pandas(frame, targets=target, name=name)
            with self._registry.dataset_lock():
                mlflow.log_input(dataset, context=context)

    def log_folder(self, folder: Path) -> None:
        """Logs every file below `folder` as an artifact, under the same relative path."""
        with self._logging():
            import mlflow

            mlflow.log_artifacts(str(folder))

    def log_model(self, pipeline: Any, rows: Any, answers: Any, trusted: list[str], requirements: list[str]) -> Any:
        """Logs a scikit-learn pipeline with skops, with a signature and an input example from `rows` and `answers`.

        `trusted`: the types that skops doesn't trust by itself. `requirements`: without them MLflow would start another
        interpreter to find out what the model imports, which takes 7 s.
        """
        with self._logging():
            import mlflow.sklearn

            return mlflow.sklearn.log_model(
                pipeline,
                name="model",
                serialization_format="skops",
                skops_trusted_types=trusted,
                signature=_signature(rows, answers),
                input_example=rows.head(2),
                pip_requirements=requirements,
            )

    def register(self, model: Any, release: Release, description: str) -> RegisteredVersion:
        """Registers the model that `log_model` returned as the next version, tagged with its release."""
        with self._registry.translate_errors("registering the model in MLflow"):
            tags = {VERSION_TAG: self.model_version, CHECKSUM_TAG: release.checksum}
            return self._registry.register(self.run_id, model, tags, description)

    def finish(self) -> None:
        with self._logging():
            import mlflow

            mlflow.end_run("FINISHED")


@contextlib.contextmanager
def start(registry: Registry, experiment: str, model_version: str, token: str) -> Iterator[Run]:
    """A run named after the model version. It becomes FAILED if the block raises, and KILLED if it is interrupted. If
    neither happens, it is RUNNING until `Run.finish`, or until a later training calls `Registry.mark_killed` with the
    `token` of its draft.

    The block runs in `Registry.logging_folder`.

    Raises:
        TrackingError: the store can't be written, or a package for its artifacts is missing.
    """
    with contextlib.ExitStack() as stack:
        with registry.translate_errors(f"starting a run in {registry.display_uri}"):
            stack.enter_context(registry.logging_folder())
            experiment_id = registry.experiment(experiment)
            require_package(registry.connect().get_experiment(experiment_id).artifact_location)
            set_default_store(registry.uri)
            import mlflow

            tags = {DRAFT_TAG: token}
            active = mlflow.start_run(experiment_id=experiment_id, run_name=model_version, tags=tags)
        run = Run(registry, active.info.run_id, experiment_id, model_version, token)
        with _end_on_error(mlflow.end_run):
            yield run


@contextlib.contextmanager
def _end_on_error(end: Callable[[str], object]) -> Iterator[None]:
    """Ends a run as FAILED if the block raises, and as KILLED if it is interrupted."""
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(Exception):  # the first error is the one to report
            end("FAILED" if isinstance(error, Exception) else "KILLED")
        raise


def _view(columns: Sequence[str]) -> str:
    """A shared view of MLflow's UI, as JSON: the runs of an experiment, the newest first, with `columns`.

    Without one the UI shows no metric. The format is MLflow's own; a version that doesn't know it ignores the tag.
    """
    state = {"orderByKey": "attributes.start_time", "orderByAsc": False, "selectedColumns": list(columns)}
    return json.dumps({"name": "Model quality", "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)})


def _signature(rows: Any, answers: Any) -> Any:
    """The signature of a model of these rows and answers. Numbers have the type `Any`.

    MLflow refuses whole numbers where the signature has doubles, and `pandas.read_csv` gives them for every column of a
    file in which no value has a fraction.
    """
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType

    inferred = infer_signature(rows, answers.to_numpy())
    inputs = [
        ColSpec(AnyType(), column.name, column.required) if column.type == DataType.double else column
        for column in inferred.inputs
    ]
    return ModelSignature(Schema(inputs), inferred.outputs)


def _with_space(markdown: str) -> str:
    """Adds space between the cells of tables: MLflow's UI shows tables in descriptions without any style."""
    return re.sub(r" \|(?= \S)", "&emsp; |", markdown)


def _accepted_names(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics under names that MLflow accepts. A class or a feature may have any name."""
    accepted: dict[str, float] = {}
    for name, value in metrics.items():
        plain = re.sub(r"[^\w.\- :]", "_", name)[:240]
        while plain in accepted:
            plain += "_"
        accepted[plain] = value
    return accepted
