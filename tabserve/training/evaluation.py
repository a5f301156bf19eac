"""How good a model is on held-out rows: one model, or two on the same rows. Touches no disk."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import joblib
import numpy as np
import pandas as pd
from sklearn import config_context
from sklearn.inspection import permutation_importance
from sklearn.pipeline import Pipeline

from tabserve.model import Matrix, Task
from tabserve.training.dataset import Dataset
from tabserve.training.estimators import family_of, threads_for
from tabserve.training.fitting import useful_own_threads
from tabserve.training.pipeline import pipeline_outputs
from tabserve.training.preprocessing import feature_of_column
from tabserve.training.progress import ReportProgress, ignore_progress
from tabserve.training.tasks import TaskResults, task_training

RESAMPLES, RESAMPLED_ROWS = 1000, 10**7
"""How many samples a bootstrap draws: fewer if they would have more rows than this together, but at least a tenth."""

PERMUTED_ROWS, PERMUTATIONS = 10_000, 10
"""For a permutation importance, the values of a feature are shuffled this often, in at most so many rows."""


@dataclass(frozen=True)
class Evaluation:
    """What the model does on rows it was not trained on.

    Attributes:
        metrics: the metrics of the whole model, by the names of its task.
        outputs: shape (held-out rows, outputs).
        results: what its task finds besides the metrics.
        importances: a row per feature. One column is the importance that the model itself reports (`importance_kind`;
            they sum to 1, or all are 0), `permutation` the mean loss on the held-out rows when the values of the
            feature are shuffled. A column `…_std` beside each has their standard deviations.
    """

    metrics: Mapping[str, float]
    outputs: Matrix
    results: TaskResults
    importances: pd.DataFrame = field(repr=False)

    @property
    def importance_kind(self) -> str:
        """`impurity`, `gain` or `coefficient`."""
        return str(self.importances.columns[1])

    def held_out_metrics(self) -> dict[str, float]:
        """The metrics and the numbers of the task's results, each as `test_…`."""
        return {f"test_{name}": value for name, value in {**self.metrics, **self.results.named_metrics()}.items()}

    def importance_metrics(self) -> dict[str, float]:
        """Both kinds of importances, each as `importance_<kind>_<feature>`."""
        return {
            f"importance_{kind}_{feature}": importance
            for kind in (self.importance_kind, "permutation")
            for feature, importance in self.importances_by_feature(kind).items()
        }

    def importances_by_feature(self, kind: str) -> dict[str, float]:
        """Feature → importance, the largest of the model's own first."""
        pairs = zip(self.importances["feature"], self.importances[kind], strict=True)
        return {str(feature): float(importance) for feature, importance in pairs}


def score(target: pd.Series, outputs: Matrix, task: Task) -> dict[str, float]:
    """Every metric of outputs, shape (rows, outputs), for rows whose target column is `target`. A metric that isn't
    defined for these rows is left out."""
    training = task_training(task.kind)
    truth = training.true_values(target, task)
    values = {metric: training.metric_value(metric, truth, outputs, task) for metric in training.metrics.names}
    return {metric: value for metric, value in values.items() if not math.isnan(value)}


def evaluate(
    pipeline: Pipeline, held_out: Dataset, seed: int, report_progress: ReportProgress = ignore_progress
) -> Evaluation:
    """Every metric of the fitted pipeline on rows it was not fitted on, and both kinds of feature importance."""
    training = task_training(held_out.task.kind)
    outputs = pipeline_outputs(pipeline, held_out.features, held_out.task.kind)
    return Evaluation(
        metrics=score(held_out.target, outputs, held_out.task),
        outputs=outputs,
        results=training.results(training.true_values(held_out.target, held_out.task), outputs, held_out.task),
        importances=_importances(pipeline, held_out, seed, report_progress),
    )


def _importances(pipeline: Pipeline, held_out: Dataset, seed: int, report_progress: ReportProgress) -> pd.DataFrame:
    training = task_training(held_out.task.kind)
    sample = held_out.part(np.sort(np.random.default_rng(seed).permutation(len(held_out))[:PERMUTED_ROWS]))
    scored = itertools.count(1)

    def scoring(model: Pipeline, features: pd.DataFrame, target: pd.Series) -> float:
        value = training.prediction_score(target, model.predict(features))
        report_progress(next(scored) / (PERMUTATIONS * features.shape[1] + 1))
        return value

    # several threads if there is enough to do; the numbers don't depend on how many
    jobs = threads_for(pipeline[-1]) if len(sample) == PERMUTED_ROWS else 1
    with joblib.parallel_config("threading"), useful_own_threads(sample):
        permuted = permutation_importance(
            pipeline, sample.features, sample.target, scoring=scoring, n_repeats=PERMUTATIONS, random_state=seed,
            n_jobs=jobs,
        )  # fmt: skip
    kind, by_column = family_of(pipeline[-1]).importances(pipeline[-1])
    features, names = feature_of_column(pipeline), held_out.features.columns
    by_feature = np.stack([by_column[:, features == number].sum(axis=1) for number in range(len(names))], axis=1)
    return pd.DataFrame(
        {
            "feature": names,
            kind: by_feature.mean(axis=0),
            f"{kind}_std": by_feature.std(axis=0),
            "permutation": permuted.importances_mean,
            "permutation_std": permuted.importances_std,
        }
    ).sort_values(kind, ascending=False, ignore_index=True)


@dataclass(frozen=True)
class Comparison:
    """Two models on the same rows.

    Attributes:
        candidate, champion: the metric of each.
        low, high: a 95 % confidence interval of the candidate's metric minus the champion's.
        candidate_is_better: whether the candidate's metric is the better one.
    """

    metric: str
    candidate: float
    champion: float
    low: float
    high: float
    candidate_is_better: bool


def compare(
    metric: str,
    target: pd.Series,
    candidate: Matrix,
    champion: Matrix,
    tasks: tuple[Task, Task],
    seed: int,
    report_progress: ReportProgress = ignore_progress,
) -> Comparison:
    """Compares the outputs of two models for the same rows: both of shape (rows, outputs). `tasks` are those of the
    candidate and of the champion.

    The interval is that of the percentile bootstrap: both models are scored on the same samples of the rows, drawn with
    replacement. A task that has groups of rows draws within each group, so that none is left without rows (Efron and
    Tibshirani 1993, chapters 8 and 13).
    """
    training, rng = task_training(tasks[0].kind), np.random.default_rng(seed)
    truth, models = training.true_values(target, tasks[0]), tuple(zip((candidate, champion), tasks, strict=True))
    groups = training.resample_groups(truth)
    resamples = max(RESAMPLES // 10, min(RESAMPLES, RESAMPLED_ROWS // len(truth)))
    differences = []
    with config_context(skip_parameter_validation=True, assume_finite=True):
        for number in range(resamples):
            rows = np.concatenate([rng.choice(group, len(group)) for group in groups])
            ours, theirs = (training.metric_value(metric, truth[rows], outputs[rows], task) for outputs, task in models)
            differences.append(ours - theirs)
            report_progress((number + 1) / resamples)
    low, high = np.quantile(differences, [0.025, 0.975])
    ours, theirs = (training.metric_value(metric, truth, outputs, task) for outputs, task in models)
    better = training.metrics.is_better(metric, ours, theirs)
    return Comparison(metric, ours, theirs, float(low), float(high), better)
