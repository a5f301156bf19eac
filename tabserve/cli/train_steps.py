"""Steps of the recipe in `train_model.py` that connect training, reports and MLflow, or print.

Importing this module imports scikit-learn, so the recipe does it in its first step.
"""

import dataclasses
import shutil
import time
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from tabserve.cli.train import StepProgress
from tabserve.cli.train_options import TrainOptions
from tabserve.errors import DataError
from tabserve.model import ModelMetadata
from tabserve.model.artifacts import Draft
from tabserve.registry import Registry, runs
from tabserve.registry.runs import Run
from tabserve.reporting import dataset_warnings, describe_dataset, model_limits, task_reporting
from tabserve.settings import Settings
from tabserve.training import EstimatorConfig, TaskKind, metric_text, task_training
from tabserve.training.column_report import report_columns
from tabserve.training.cross_validation import CrossValidation, cross_validate
from tabserve.training.dataset import Dataset, Split, load_iris
from tabserve.training.estimators import all_hyperparameters, with_leaf_limit
from tabserve.training.ingest import load_table
from tabserve.training.leakage import find_leakage
from tabserve.training.pipeline import REQUIREMENTS, TRUSTED_TYPES, encodings_for
from tabserve.training.provenance import git_commit
from tabserve.training.result import TrainingResult

RUN_PARAMETERS = ("n_estimators", "max_depth")
"""The hyperparameters that MLflow's list of runs shows, beside the metrics of the task."""


def start_run(
    registry: Registry, options: TrainOptions, settings: Settings, draft: Draft
) -> AbstractContextManager[Run]:
    """An MLflow run for the model version of the draft."""
    experiment = options.experiment or settings.model_name
    return runs.start(registry, experiment, draft.model_version, draft.token)


def load_dataset(options: TrainOptions, run: Run) -> Dataset:
    """The table that the options name, or Iris. Its task decides what MLflow's list of runs shows.

    Raises:
        DataError: no model can be trained on it, or not with these options.
    """

    def rows_needed(kind: TaskKind, folds: int = options.folds) -> int:
        return task_training(kind).rows_needed(options.config.estimator, folds, options.test_size)

    if options.table is None or options.columns is None:
        dataset = load_iris()
    else:
        dataset = load_table(
            options.table, options.columns, rows_needed, options.task, fewest_rows=partial(rows_needed, folds=2)
        )
    kind = dataset.task.kind
    training, metric = task_training(kind), options.metric_of(kind)
    problems = (
        training.config_problem(options.config, dataset.target),
        training.metric_problem(metric, dataset.target),
        training.decision_problem(options.decision, dataset.task),
    )
    if found := [problem for problem in problems if problem]:
        raise DataError("\n".join(found))
    columns = [f"metrics.`{name}`" for name in task_reporting(kind).run_metrics]
    run.show_columns(columns + [f"params.`{name}`" for name in RUN_PARAMETERS])
    return dataset


def show_dataset(split: Split, options: TrainOptions) -> None:
    """Prints what was inferred of a table, with warnings. Iris is known."""
    if options.table is not None:
        warnings = dataset_warnings(split.whole, find_leakage(split.training, options.seed))
        facts = report_columns(split.whole, encodings_for(split.training, options.config))
        width = shutil.get_terminal_size((100, 24)).columns
        print(
            "\n".join(["", *split.whole.notes, describe_dataset(split.whole, facts, width), *warnings, ""]), flush=True
        )


def limit_leaves(config: EstimatorConfig, training: Dataset) -> EstimatorConfig:
    """The config with a limit on the leaves of trees, if they could be too large to serve; then prints that."""
    limited = with_leaf_limit(config, len(training), training.task)
    if limited != config:
        print(
            f"         each tree gets at most {limited.hyperparameters['max_leaf_nodes']:,} leaves: with more, the "
            "model could be too large to serve (--max-leaf-nodes sets another limit)",
            flush=True,
        )
    return limited


def search(
    options: TrainOptions, training: Dataset, run: Run, progress: StepProgress
) -> tuple[EstimatorConfig, CrossValidation]:
    """Tries sets of hyperparameters by cross-validation, and logs each trial as a child run. Returns the best config
    and its cross-validation."""
    from tabserve.training.tuning import Search  # imports Optuna, which nothing else needs

    kind = training.task.kind
    metric = options.metric_of(kind)
    trials = Search(options.config, metric, options.seed, kind)
    for number in range(1, options.search + 1):
        started, step = time.time(), f"trial {number} of {options.search}"
        set_by_hand = options.config.hyperparameters
        config = with_leaf_limit(trials.suggest(), len(training), training.task, set_by_hand)
        validation = cross_validate(training, config, options.folds, options.seed, progress.during(step))
        value = validation.mean(metric)
        best = trials.record(config, value)
        run.log_trial(number, all_hyperparameters(config, kind), validation.summary(), started)
        if best.number == number:
            best_validation = validation
        progress.done(
            f"{step}: {metric} {metric_text(value)}, best so far {metric_text(best.value)} of trial {best.number}"
        )
    return best.config, best_validation


def calibrate(
    parts: Split, validation: CrossValidation, config: EstimatorConfig, options: TrainOptions
) -> tuple[Split, CrossValidation]:
    """The rows, with a task that knows how far cross-validation of this config was from the truth, and what the
    cross-validation measures with that task."""
    task, training, measured = parts.whole.task, parts.training.target, validation.target
    calibrated = task_training(task.kind).calibrated(
        task, training, measured, validation.outputs, options.decision, config.hyperparameters.get("loss")
    )
    return parts.with_task(calibrated), validation.with_task(calibrated)


def describe(
    result: TrainingResult,
    config: EstimatorConfig,
    options: TrainOptions,
    settings: Settings,
    draft: Draft,
    run: Run,
) -> ModelMetadata:
    """The metadata of the model."""
    kind = result.schema.task.kind
    parameters = {
        "estimator": config.estimator,
        **all_hyperparameters(config, kind),
        "test_size": options.test_size,
        "folds": options.folds,
        "seed": options.seed,
    }
    if options.columns and options.columns.split_by:
        parameters["split_by"] = options.columns.split_by
    if options.table is not None:
        parameters |= dataclasses.asdict(config.encoding)
    if options.search:
        parameters |= {"search": options.search, "search_metric": options.metric_of(kind)}
    metadata = result.describe(
        model_name=settings.model_name,
        model_version=draft.model_version,
        run_id=run.run_id,
        trained_at=draft.started.isoformat(),
        parameters=parameters,
        git_commit=git_commit(options.root),
        columns=report_columns(result.split.whole, encodings_for(result.split.training, config)),
    )
    return metadata.model_copy(update={"limits": model_limits(metadata, result.schema, result.pipeline)})


def log_model(run: Run, result: TrainingResult, metadata: ModelMetadata) -> Any:
    """Logs parameters, datasets and the pipeline, in the order that MLflow needs. Returns MLflow's logged model."""
    training, held_out = result.split.training, result.split.held_out
    facts = {f"data_{name}": value for name, value in metadata.dataset.model_dump(exclude_none=True).items()}
    run.log_parameters(metadata.parameters | facts)
    run.log_dataset(training.frame, result.schema.target, training.name, "training")
    run.log_dataset(held_out.frame, result.schema.target, held_out.name, "evaluation")
    requirements = [f"{name}=={metadata.libraries[name]}" for name in REQUIREMENTS]
    return run.log_model(result.pipeline, training.features, training.target, TRUSTED_TYPES, requirements)


def log_results(run: Run, model: Any, result: TrainingResult, metadata: ModelMetadata, folder: Path, card: str) -> None:
    """Logs metrics, the files of the draft, and tags."""
    run.log_metrics(metadata.metrics, model)
    run.log_folds(result.validation.folds)
    run.log_folder(folder)
    tags = {"git_commit": metadata.git_commit, "seed": str(metadata.parameters["seed"])}
    run.tag(tags, metadata.libraries, note=card)
