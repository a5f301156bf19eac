"""Conformal prediction: how far the outputs of a model are from the truth, on rows that it was not fitted on.

The rows come from the cross-validation. Each is predicted by a model of the other folds, which saw fewer rows than the
final one, so what is measured here is a little too large and never too optimistic (Barber et al. 2021, "Predictive
inference with the jackknife+", measure the same).
"""

import numpy as np
from numpy.typing import NDArray

from tabserve.errors import DataError
from tabserve.model import Vector

GROUPS, ROWS_OUTSIDE = 10, 10
"""Errors are measured in up to so many groups of predictions, each so large that about so many of its rows are outside
of their intervals."""


def conformal_quantile(scores: Vector, coverage: float) -> float:
    """The least number that at least the share `coverage` of scores like these doesn't exceed: of n scores the
    ⌈(n + 1) · coverage⌉-th smallest (Vovk, Gammerman, Shafer 2005). `scores` has shape (rows,).

    Raises:
        DataError: there are too few scores for such a coverage.
    """
    rank = int(np.ceil((len(scores) + 1) * coverage - 1e-9))  # 0.9 times 10 is above 9 in doubles
    if rank > len(scores):
        needed = int(np.ceil(coverage / (1 - coverage) - 1e-9))
        raise DataError(
            f"--coverage {coverage:g} needs {needed} training rows, and there are {len(scores)}: use a smaller one"
        )
    return float(np.partition(scores, rank - 1)[rank - 1])


def grouped_quantiles(predictions: Vector, scores: Vector, coverage: float) -> tuple[list[float], list[float]]:
    """The conformal quantiles of groups of rows with similar predictions (Boström and Johansson 2020, "Mondrian
    conformal regressors"). Both arrays have shape (rows,).

    Returns the largest prediction of each group but the last, and the quantile of each group.
    """
    rows = ROWS_OUTSIDE / (1 - coverage)
    for count in range(max(1, min(GROUPS, int(len(predictions) / rows))), 0, -1):
        bounds = np.unique(np.quantile(predictions, np.arange(1, count) / count))
        group: NDArray[np.intp] = np.searchsorted(bounds, predictions)
        if np.bincount(group, minlength=len(bounds) + 1).min() >= rows / 2:  # equal predictions make unequal groups
            break
    quantiles = [conformal_quantile(scores[group == number], coverage) for number in range(len(bounds) + 1)]
    return bounds.tolist(), quantiles
