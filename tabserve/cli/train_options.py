"""The options of `tabserve train`: what they are, which go together, and the messages if they don't. The pipeline has
those of the table, the evaluation and the model, too.

Standard library only, as `pipeline` needs it.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tabserve import __version__
from tabserve.cli.option_types import (
    criterion,
    loss,
    max_features,
    positive,
    rows_or_share,
    share,
    threshold,
    whole_number,
)
from tabserve.cli.table_options import add_table_options, table_problem, table_source
from tabserve.training import (
    HYPERPARAMETERS,
    METRICS,
    THRESHOLD_METRICS,
    ColumnOptions,
    DecisionOptions,
    EncodingOptions,
    EstimatorConfig,
    TaskKind,
)
from tabserve.training.config import ENCODINGS
from tabserve.training.source import TableSource

Promotion = Literal["always", "better", "never"]


@dataclass(frozen=True)
class TrainOptions:
    """What a training was asked to do.

    Attributes:
        root: the folder of `mlruns/`, `artifacts/` and `.env`.
        program: the name under which the command was called, for its messages.
        config: the estimator, the hyperparameters that are set, and how features become columns.
        search: how many sets of hyperparameters to try; 0 for no search.
        table: where the table is; None for Iris.
        columns: the roles of its columns; None for Iris.
        test_size: the share of the rows that is held out.
        folds: how many folds the cross-validation has.
        seed: of the split, the folds, the estimator and the search.
        promote: whether to make the version live.
        metric: the metric by which a search and `promote` compare; None for the default of the task.
        unless_trained: whether to do nothing if a version is live.
        experiment: MLflow's experiment; None for one with the name of the model.
        model_name: the registered model; None for that of the settings.
        tracking_uri: the MLflow store; None for that of the settings.
        task: what kind of prediction is trained; None: as the target column says.
        decision: how the model's outputs become decisions.
    """

    root: Path
    program: str
    config: EstimatorConfig
    search: int
    table: TableSource | None
    columns: ColumnOptions | None
    test_size: float
    folds: int
    seed: int
    promote: Promotion
    metric: str | None
    unless_trained: bool
    experiment: str | None
    model_name: str | None
    tracking_uri: str | None
    task: TaskKind | None = None
    decision: DecisionOptions = field(default_factory=DecisionOptions)

    def metric_of(self, kind: TaskKind) -> str:
        """The metric by which models of this kind of task are compared."""
        return self.metric or METRICS[kind].default


HYPERPARAMETER_OPTIONS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "n_estimators": (whole_number(1), "number of trees of a forest (default: 100)"),
    "max_iter": (whole_number(1), "trees per class of boosting (100), or steps of a logistic regression (1000)"),
    "max_depth": (whole_number(1), "largest depth of a tree (default: no limit)"),
    "min_samples_split": (whole_number(2), "rows that a node needs to be split (default: 2)"),
    "min_samples_leaf": (whole_number(1), "rows that each leaf needs (default: 1; gradient boosting 20)"),
    "max_features": (
        max_features, "features tried at each split: sqrt, log2, or a share up to 1 (default: sqrt; for a number 1)"
    ),
    "criterion": (
        criterion,
        "quality of a split: gini, entropy or log_loss (default: gini); for a number squared_error or absolute_error",
    ),
    "max_leaf_nodes": (
        whole_number(2, 10**9),
        "most leaves of a tree (default: 31 for gradient boosting; and as many as fit in 100 MB for all trees)",
    ),
    "learning_rate": (positive, "weight of each tree of gradient boosting (default: 0.1)"),
    "l2_regularization": (positive, "regularization of the leaves of gradient boosting (default: none)"),
    "C": (positive, "inverse of the regularization of a logistic regression (default: 1)"),
    "alpha": (positive, "regularization of a ridge regression (default: 1)"),
    "loss": (
        loss,
        "what gradient boosting of a number minimizes: squared_error, gamma (above 0) or poisson (counts)",
    ),
}  # fmt: skip
"""Hyperparameter → the type of its value, and what it is."""


def parse(argv: Sequence[str] | None, *, root: Path, program: str) -> TrainOptions:
    """The options of a command line. Ends the process with status 2 and a message if they are wrong."""
    command = f"python {program}" if program.endswith(".py") else program
    parser = argparse.ArgumentParser(
        prog=program,
        usage=f"{command} [options]",
        description="Train a random forest on Iris, or a model of your own table, log it to MLflow, and publish it.",
        epilog="The same seed and options give the same model.",
    )
    parser.add_argument("--version", action="version", version=f"tabserve {__version__}")
    add_training_options(parser)
    _add_publishing_options(parser)
    given = parser.parse_args(argv)
    if problem := training_problem(given):
        parser.error(problem)
    return TrainOptions(
        root=root,
        program=program,
        config=_config(given),
        search=given.search,
        table=table_source(given),
        columns=_columns(given) if given.data else None,
        test_size=given.test_size,
        folds=given.folds,
        seed=given.seed,
        promote=given.promote,
        metric=given.metric,
        unless_trained=given.unless_trained,
        experiment=given.experiment,
        model_name=given.model_name,
        tracking_uri=given.tracking_uri,
        task=given.task,
        decision=DecisionOptions(given.coverage, given.threshold, given.positive),
    )


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """The options of the table, the evaluation and the model."""
    _add_data_options(parser)
    _add_model_options(parser)


def _config(given: argparse.Namespace) -> EstimatorConfig:
    names = (*HYPERPARAMETER_OPTIONS, "class_weight")
    hyperparameters = {name: value for name, value in vars(given).items() if name in names}
    encoding = EncodingOptions(given.encode, given.rare, given.missing_indicators)
    return EstimatorConfig(given.estimator, hyperparameters, encoding)


def _columns(given: argparse.Namespace) -> ColumnOptions:
    return ColumnOptions(
        given.target, given.drop, given.id, given.categorical, given.keep, given.dates, given.decimal, given.split_by
    )


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model, under scikit-learn's names and meanings")
    group.add_argument(
        "--estimator", choices=HYPERPARAMETERS, default=EstimatorConfig.estimator,
        help="what to train (default: %(default)s)",
    )  # fmt: skip
    for name, (kind, description) in HYPERPARAMETER_OPTIONS.items():
        group.add_argument(
            f"--{name.replace('_', '-')}", dest=name, type=kind, metavar=name[0].upper(), help=description,
            default=argparse.SUPPRESS,
        )  # fmt: skip
    group.add_argument(
        "--class-weight", choices=["balanced", "balanced_subsample"], default=argparse.SUPPRESS,
        help="weights for rare classes (default: none)",
    )  # fmt: skip
    group.add_argument(
        "--search", type=whole_number(2, 500), default=0, metavar="N",
        help="try N sets of hyperparameters by cross-validation, and train with the best by --metric; those on the "
        "command line stay as they are",
    )  # fmt: skip
    names = [name for metrics in METRICS.values() for name in metrics.comparable]
    choices = "; of numbers ".join(f"{', '.join(own.comparable)} (default: {own.default})" for own in METRICS.values())
    group.add_argument(
        "--metric", choices=names, metavar="M", help=f"by which models are compared: {choices}",
    )  # fmt: skip


def _add_data_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data and evaluation")
    default = "(default: %(default)s)"
    add_table_options(group)
    group.add_argument(
        "--encode", choices=ENCODINGS, default=EncodingOptions.encode,
        help="how categories become columns: a column for each (one-hot), or what the target was with each (target); "
        "auto chooses by their number (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--rare", type=rows_or_share, default=EncodingOptions.rare, metavar="ROWS",
        help="one-hot categories with fewer training rows share a column: a number of rows, or a share below 1 "
        "(default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--missing-indicators", action=argparse.BooleanOptionalAction, default=EncodingOptions.missing_indicators,
        help="a column for each number that may be missing, which says whether it is; gradient boosting needs none",
    )  # fmt: skip
    group.add_argument(
        "--test-size", type=share, default=0.2, metavar="SHARE", help=f"share of the rows that is held out {default}"
    )
    group.add_argument(
        "--folds", type=whole_number(2), default=5, metavar="K", help=f"folds of the cross-validation {default}"
    )
    group.add_argument(
        "--coverage", type=share, default=DecisionOptions.coverage, metavar="SHARE",
        help=f"share of the rows whose true number or class shall be in its interval or prediction set {default}",
    )  # fmt: skip
    group.add_argument(
        "--threshold", type=threshold, metavar="T",
        help="of two classes, the probability from which on the positive one is predicted, or the metric that the "
        f"threshold shall maximize: {', '.join(THRESHOLD_METRICS)} (default: predict the most probable class)",
    )  # fmt: skip
    group.add_argument(
        "--positive", metavar="LABEL", help="the class that --threshold is about (default: the second of the two)"
    )
    group.add_argument(
        "--seed", type=whole_number(0, 2**32 - 1), default=42, metavar="N",
        help=f"seed of the split, the folds and the estimator {default}",
    )  # fmt: skip


def _add_publishing_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("publishing")
    group.add_argument(
        "--promote", choices=["always", "better", "never"], default="always",
        help="make the new version live: always; better, if its --metric is better than the champion's on the same "
        "held-out rows; or never, so that it stays a candidate (default: %(default)s)",
    )  # fmt: skip
    group.add_argument("--unless-trained", action="store_true", help="do nothing if a model is live already")
    group.add_argument("--experiment", metavar="NAME", help="MLflow experiment (default: the name of the model)")
    group.add_argument(
        "--model-name", metavar="NAME",
        help="registered model (default: the setting, or else the name of the table's file)",
    )  # fmt: skip
    group.add_argument("--tracking-uri", metavar="URI", help="MLflow store (default: the setting)")


def training_problem(given: argparse.Namespace) -> str | None:
    """Which options don't go together, and what to do; None if all do. `given`: those of `add_training_options`, and
    perhaps those about publishing."""
    config = _config(given)
    if given.metric and not given.search and not hasattr(given, "promote"):
        return "argument --metric: only --search compares metrics; add it"
    if given.metric and not given.search and given.promote != "better":
        return "argument --metric: only --search and --promote better compare metrics; add one of them"
    if given.positive is not None and given.threshold is None:
        return "argument --positive: it goes with --threshold; add that"
    known = HYPERPARAMETERS[config.estimator]
    for name in config.hyperparameters:
        if name not in known:
            others = ", ".join(estimator for estimator, names in HYPERPARAMETERS.items() if name in names)
            option = f"--{name.replace('_', '-')}"
            return f"argument {option}: it is for --estimator {others}, not {config.estimator}"
    if config.hyperparameters.get("class_weight") == "balanced_subsample" and "n_estimators" not in known:
        return f"argument --class-weight: balanced_subsample is for forests; {config.estimator} takes balanced"
    if config.encoding != EncodingOptions() and not given.data:
        return "arguments --encode, --rare, --missing-indicators: they are about a table; name the table with --data"
    return table_problem(given)
