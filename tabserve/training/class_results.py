"""What an evaluation finds of a classifier besides its metrics, for each class and for its prediction sets."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from tabserve.model import ClassFacts, Classification, Estimate, Matrix, ModelMetadata
from tabserve.training.proportion import proportion


@dataclass(frozen=True)
class ClassMetrics:
    """How good the model is at one class.

    Attributes:
        held_out_rows: the held-out rows that have this class.
        precision: of the rows with this prediction, the share that have the class.
        recall: of the rows that have the class, the share with this prediction.
        f1: the harmonic mean of both.
    """

    held_out_rows: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True)
class ClassResults:
    """What an evaluation finds for each class.

    Attributes:
        confusion: shape (classes, classes); row: the true class, column: the predicted one.
        by_class: class → how good the model is at it.
        set_coverage: the share of the rows whose prediction set has the true class.
        set_size: how many classes a prediction set has in the mean.
    """

    confusion: NDArray[np.int64]
    by_class: Mapping[str, ClassMetrics]
    set_coverage: float
    set_size: float

    def named_metrics(self) -> dict[str, float]:
        of_classes = {
            f"{name}_{label}": getattr(measured, name).value
            for label, measured in self.by_class.items()
            for name in ("precision", "recall", "f1")
        }
        return of_classes | {"set_coverage": self.set_coverage, "set_size": self.set_size}

    def add_to(self, metadata: ModelMetadata, target: pd.Series) -> ModelMetadata:
        rows = target.astype("str").value_counts()
        by_class = {
            label: ClassFacts(
                rows=int(rows[label]),
                share=float(rows[label] / len(target)),
                held_out_rows=measured.held_out_rows,
                precision=measured.precision,
                recall=measured.recall,
                f1=measured.f1,
            )
            for label, measured in self.by_class.items()
        }
        return metadata.model_copy(update={"confusion_matrix": self.confusion.tolist(), "by_class": by_class})


def class_results(truth: NDArray[np.intp], probabilities: Matrix, task: Classification) -> ClassResults:
    """What an evaluation finds for each class. `truth`: shape (rows,), the numbers of the true classes;
    `probabilities`: shape (rows, classes)."""
    prediction = task.predictions(probabilities)
    confusion = confusion_matrix(truth, prediction, labels=range(len(task.classes)))
    members = task.members(probabilities, prediction)
    return ClassResults(
        confusion,
        by_class=dict(zip(task.classes, class_metrics(confusion), strict=True)),
        set_coverage=float(members[np.arange(len(truth)), truth].mean()),
        set_size=float(members.sum(axis=1).mean()),
    )


def class_metrics(confusion: NDArray[np.int64]) -> list[ClassMetrics]:
    """How good the model is at each class, by a confusion matrix of shape (classes, classes).

    The intervals of precision and recall are Wilson's (1927), which keep a width even if every prediction is right. F1
    is 2 s / (1 + s), where s is the share of right predictions among the rows that have the class or are predicted to
    have it. Its interval is computed from that of s (Lam, Gopal and Qian 2023, "Wilson indirect").
    """
    measured = []
    for right, predicted, actual in zip(np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1), strict=True):
        share = proportion(right, predicted + actual - right)
        value, low, high = (2 * bound / (1 + bound) for bound in (share.value, share.low, share.high))
        f1 = Estimate(value=value, low=low, high=high)
        measured.append(ClassMetrics(int(actual), proportion(right, predicted), proportion(right, actual), f1))
    return measured
