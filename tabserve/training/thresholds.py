"""Chooses the decision threshold between two classes."""

import numpy as np
from numpy.typing import NDArray

from tabserve.model import Vector


def best_threshold(metric: str, is_positive: NDArray[np.bool_], probabilities: Vector) -> float:
    """The threshold that maximizes a metric of `THRESHOLD_METRICS`, in the middle between the probabilities of two
    rows; of equally good ones that which is nearest to 0.5. Both arrays have shape (rows,).

    A row is predicted to be positive if its probability is at least the threshold.
    """
    order = np.argsort(-probabilities, kind="stable")
    bounds = np.concatenate([[1.0], probabilities[order], [0.0]])
    possible = np.flatnonzero(bounds[:-1] > bounds[1:])  # how many rows, the most probable first, may be positive
    thresholds = (bounds[possible] + bounds[possible + 1]) / 2
    tp = np.append(0.0, np.cumsum(is_positive[order]))[possible]
    positives, rows = int(is_positive.sum()), len(is_positive)
    fp = possible - tp
    fn, tn = positives - tp, rows - positives - fp
    recalls = np.stack([tn / (tn + fp), tp / (tp + fn)])
    f1 = np.stack([2 * tn / (2 * tn + fp + fn), 2 * tp / (2 * tp + fp + fn)])
    values = {
        "accuracy": (tp + tn) / rows,
        "balanced_accuracy": recalls.mean(axis=0),
        "f1_macro": f1.mean(axis=0),
        "f1_weighted": ((rows - positives) * f1[0] + positives * f1[1]) / rows,
    }[metric]
    best = np.flatnonzero(values >= values.max() - 1e-12)
    return float(thresholds[best[np.abs(thresholds[best] - 0.5).argmin()]])
