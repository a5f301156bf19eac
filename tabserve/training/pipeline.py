"""scikit-learn's pipeline of preprocessing and estimator: what it is made of, and what it computes."""

import joblib
import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from tabserve.model import Matrix
from tabserve.training.config import EstimatorConfig
from tabserve.training.dataset import Dataset
from tabserve.training.encoding import FeatureEncoding, feature_encodings
from tabserve.training.estimators import build, family_of, threads_for
from tabserve.training.preprocessing import preprocessing_step, transformers
from tabserve.training.tasks import TaskKind, task_training

PREDICTED_ROWS = 10_000
"""How many rows one thread computes at a time."""

REQUIREMENTS = ("scikit-learn", "skops", "numpy", "pandas")
"""The libraries that it takes to load a pipeline that MLflow has stored."""

TRUSTED_TYPES = [
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.model_selection._split.KFold",
    "sklearn.tree._tree.Tree",
]
"""The types in such pipelines that skops doesn't trust by itself: those of trees, and of encoders of
categories."""


def build_pipeline(dataset: Dataset, config: EstimatorConfig, seed: int) -> Pipeline:
    """The pipeline for this table, unfitted."""
    first = preprocessing_step(dataset, encodings_for(dataset, config), seed)
    estimator = build(config, seed, dataset.task.kind)
    return Pipeline([first, (task_training(dataset.task.kind).estimator_step, estimator)])


def encodings_for(training: Dataset, config: EstimatorConfig) -> list[FeatureEncoding]:
    """What the config makes of each feature of these training rows."""
    family = task_training(training.task.kind).estimators[config.estimator].family
    return feature_encodings(training, config.encoding, keeps_missing=family.keeps_missing, is_linear=family.is_linear)


def pipeline_outputs(pipeline: Pipeline, features: pd.DataFrame, kind: TaskKind, threads: int | None = None) -> Matrix:
    """What the fitted pipeline computes for each row, shape (rows, outputs), with so many threads (default:
    `threads_for` the estimator)."""
    outputs = task_training(kind).outputs
    starts = range(0, len(features), PREDICTED_ROWS)
    if len(starts) < 2:
        return outputs(pipeline, features)
    work = (joblib.delayed(outputs)(pipeline, features.iloc[start : start + PREDICTED_ROWS]) for start in starts)
    return np.concatenate(joblib.Parallel(threads or threads_for(pipeline[-1]), prefer="threads")(work))


def model_type(pipeline: Pipeline) -> str:
    """scikit-learn's names of the steps of a fitted pipeline, joined by " + "."""
    return " + ".join(type(step).__name__ for step in (*transformers(pipeline), pipeline[-1]))


def describe_fit(pipeline: Pipeline) -> str:
    """What was fitted, in words."""
    return family_of(pipeline[-1]).describe_fit(pipeline[-1])
