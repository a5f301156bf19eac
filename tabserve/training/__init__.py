"""A table in, a fitted and evaluated model out, compiled into a release.

Knows tables, scikit-learn and the tasks. Doesn't know MLflow, figures, commands or anything that serves. Promises: the
same table, config and seed give the same model and the same numbers, with any number of threads; and the compiled model
gives scikit-learn's outputs.

The steps, in their order: `source` says where a table is, `table_file` reads it, `ingest` or `dataset` make features
and a target of it, `task_choice` chooses what to predict, `dataset` splits the table, `leakage` looks for features that
know the target, `tuning` and `cross_validation` choose hyperparameters, `conformal` measures intervals, `fitting` fits,
`evaluation` evaluates, `schema_inference` infers the schema, `result` describes all that, `compiler` writes the
release, `parity` compares it with scikit-learn. What differs between tasks is in `classification` and `regression`, and
`tasks` says what that is.

Those modules import pandas and scikit-learn, which takes two seconds. So a command imports them in the function that
uses them, and this package exports only what its options need.
"""

from tabserve.training.config import (
    CRITERIA,
    HYPERPARAMETERS,
    LOSSES,
    ColumnOptions,
    DecisionOptions,
    EncodingOptions,
    EstimatorConfig,
)
from tabserve.training.progress import ReportProgress
from tabserve.training.tasks import METRICS, THRESHOLD_METRICS, TaskKind, metric_text, task_training

__all__ = [
    "CRITERIA", "HYPERPARAMETERS", "LOSSES", "METRICS", "THRESHOLD_METRICS", "ColumnOptions", "DecisionOptions",
    "EncodingOptions", "EstimatorConfig", "ReportProgress", "TaskKind", "metric_text", "task_training",
]  # fmt: skip
