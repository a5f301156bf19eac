"""Leakage: features that know the target, often because their value became known only with it."""

import pandas as pd
from pandas.api.types import is_numeric_dtype

from tabserve.training.dataset import Dataset
from tabserve.training.tasks import task_training

SUSPICIOUS = 0.99
"""A feature with at least this score is reported."""


def find_leakage(dataset: Dataset, seed: int) -> dict[str, float]:
    """The features that predict the target nearly always, each one alone, with their scores from 0 to 1."""
    task = task_training(dataset.task.kind)
    sample = task.leakage_sample(dataset, seed)
    if sample is None:
        return {}
    suspects: dict[str, float] = {}
    for name, column in sample.features.items():
        numbers = column if is_numeric_dtype(column.dtype) else pd.Series(pd.factorize(column)[0], index=column.index)
        score = task.leakage_score(numbers.to_frame(), sample.target, seed)
        if score >= SUSPICIOUS:
            feature = dataset.feature_of[str(name)]
            suspects[feature] = max(score, suspects.get(feature, 0))
    return suspects
