"""The task of a model: what its outputs mean, and the decision that follows from them.

Everything in this package that differs between kinds of prediction stands here. A task turns the numbers that the
compiled model gives for a row into an outcome, and an outcome knows the keys under which a reply shows it. Other
packages have one place each for their part of a task and choose it by `Task.kind`. The tasks are classification, which
is here, and `tabserve.model.regression`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from tabserve.model.arrays import Matrix, Vector
from tabserve.model.regression import NumberOutcome, NumberOutcomes, Regression

LabelType = Literal["text", "number", "boolean"]
"""The type that a table has for its classes."""

ROUNDING = 1e-9
"""More than the sum of a row's probabilities can differ from 1."""

Label = str | bool | int | float
"""A class, in the type that the table has for it."""


class ClassOutcome(NamedTuple):
    """The decision for one row.

    Attributes:
        prediction: index of the class in `prediction_proba`.
        prediction_proba: one probability per class; they sum to 1.
        confidence: the probability of `prediction`; the largest, unless there is a decision threshold.
        label: the class, in the table's type.
        prediction_set: labels of which one is the true class for a known share of the rows, in the order of the
            probabilities; `label` is one of them.
        coverage: that share.
    """

    prediction: int
    prediction_proba: Sequence[float]
    confidence: float
    label: Label
    prediction_set: Sequence[Label]
    coverage: float

    def reply(self) -> dict[str, object]:
        """The task's part of a reply, as a new dict. `_asdict` takes three times as long."""
        return {
            "prediction": self.prediction,
            "prediction_proba": self.prediction_proba,
            "confidence": self.confidence,
            "label": self.label,
            "prediction_set": self.prediction_set,
            "coverage": self.coverage,
        }


@dataclass(frozen=True, slots=True)
class Labels:
    """A column of texts, stored as codes.

    Attributes:
        codes: shape (rows,), indices into `names`.
        names: the different texts.
    """

    codes: NDArray[np.intp]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LabelSets:
    """A column of sets of labels.

    Attributes:
        members: shape (rows, labels): whether the set has the label.
        labels: the labels.
    """

    members: NDArray[np.bool_]
    labels: Sequence[Label]

    def lists(self, rows: slice) -> list[list[Label]]:
        """The sets of some rows, each as a list. Rows with the same single label share a list."""
        members = self.members[rows]
        singles = [[label] for label in self.labels]
        sets = [singles[first] for first in members.argmax(axis=1).tolist()]
        for row in np.flatnonzero(members.sum(axis=1) != 1).tolist():
            sets[row] = [self.labels[number] for number in np.flatnonzero(members[row]).tolist()]
        return sets


Column = NDArray[np.intp] | NDArray[np.bool_] | Vector | Matrix | Labels | LabelSets
"""A column of a batch reply, one entry per row."""


@dataclass(frozen=True, slots=True)
class ClassOutcomes:
    """The decisions for many rows, as columns.

    Attributes:
        task: the task of the model.
        prediction: shape (rows,), the index of the class.
        prediction_proba: shape (rows, classes).
        confidence: shape (rows,).
    """

    task: "Classification"
    prediction: NDArray[np.intp]
    prediction_proba: Matrix
    confidence: Vector

    def __len__(self) -> int:
        return len(self.prediction)

    def __getitem__(self, rows: slice) -> "ClassOutcomes":
        """Some of the rows, copied into memory of their own."""
        return ClassOutcomes(
            self.task,
            self.prediction[rows].copy(),
            self.prediction_proba[rows].copy(),
            self.confidence[rows].copy(),
        )

    def head(self) -> dict[str, object]:
        """What a batch reply says once."""
        return {"coverage": self.task.coverage}

    def columns(self) -> Mapping[str, Column]:
        """The columns of a batch reply, by key."""
        return {
            "prediction": self.prediction,
            "label": self._label_column(),
            "confidence": self.confidence,
            "prediction_proba": self.prediction_proba,
            "prediction_set": LabelSets(self.task.members(self.prediction_proba, self.prediction), self.task.labels),
        }

    def outcomes(self) -> list[ClassOutcome]:
        """The decisions row by row."""
        return [self.task.decide(probabilities) for probabilities in self.prediction_proba.tolist()]

    def _label_column(self) -> Column:
        labels = self.task.labels
        texts = tuple(label for label in labels if isinstance(label, str))
        return Labels(self.prediction, texts) if texts else np.array(labels)[self.prediction]


class Classification(BaseModel):
    """Each row belongs to one of several classes. The model gives one probability per class.

    Attributes:
        classes: the class names, in the order of the probabilities: numbers by their size, texts by the alphabet.
        label_type: the type that the table has for its classes.
        coverage: for which share of the rows the prediction set shall hold the true class.
        threshold: with two classes, the probability from which on the positive class is predicted; None: the most
            probable class is predicted.
        positive: the name of that class.
        least_probability: the prediction set has every class with at least this probability, and the predicted class.
            1 before it is measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["classification"] = "classification"
    classes: tuple[str, ...] = Field(min_length=2)
    label_type: LabelType = "text"
    threshold: FiniteFloat | None = Field(default=None, gt=0, lt=1)
    positive: str | None = None
    coverage: FiniteFloat = Field(default=0.9, gt=0, lt=1)
    least_probability: FiniteFloat = Field(default=1.0, ge=0, le=1)

    @model_validator(mode="after")
    def _classes_have_the_type(self) -> Self:
        if len(set(self.labels)) != len(self.classes):
            raise ValueError("the classes must differ")
        if self.threshold is not None and (len(self.classes) != 2 or self.positive not in self.classes):
            raise ValueError("a threshold is for one of two classes")
        return self

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """The classes in the table's type."""
        match self.label_type:
            case "text":
                return self.classes
            case "number":
                return tuple(float(name) if "." in name else int(name) for name in self.classes)
            case "boolean":
                return tuple(bool(("False", "True").index(name)) for name in self.classes)

    @property
    def outputs(self) -> int:
        """How many numbers the model gives per row."""
        return len(self.classes)

    @property
    def output_scale(self) -> float:
        """The size of outputs by which a difference from scikit-learn is judged."""
        return 1.0

    def decide(self, outputs: list[float]) -> ClassOutcome:
        """The class of one row: by the threshold, if there is one; else the most probable, and of equal probabilities
        the first, as in scikit-learn."""
        if self.threshold is None:
            confidence = max(outputs)
            prediction = outputs.index(confidence)
        else:
            positive = self.classes.index(self.positive or "")
            prediction = positive if outputs[positive] >= self.threshold else 1 - positive
            confidence = outputs[prediction]
        label = self.labels[prediction]
        if confidence > 1 - self.least_probability + ROUNDING:  # no other class can have the least probability
            members: Sequence[Label] = (label,)
        else:
            pairs = zip(self.labels, outputs, strict=True)
            members = [one for one, probability in pairs if probability >= self.least_probability or one == label]
        return ClassOutcome(prediction, outputs, confidence, label, members, self.coverage)

    def decide_rows(self, outputs: Matrix) -> ClassOutcomes:
        """The same for many rows: `outputs` has shape (rows, classes)."""
        prediction = self.predictions(outputs)
        return ClassOutcomes(self, prediction, outputs, outputs[np.arange(len(outputs)), prediction])

    def predictions(self, outputs: Matrix) -> NDArray[np.intp]:
        """The index of the class of many rows: shape (rows,)."""
        if self.threshold is None:
            most_probable: NDArray[np.intp] = outputs.argmax(axis=1)
            return most_probable
        positive = self.classes.index(self.positive or "")
        return np.where(outputs[:, positive] >= self.threshold, positive, 1 - positive)

    def members(self, outputs: Matrix, prediction: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which classes the prediction sets of many rows have: shape (rows, classes), as `outputs`."""
        members: NDArray[np.bool_] = outputs >= self.least_probability
        members[np.arange(len(outputs)), prediction] = True
        return members

    def difference_from(self, other: "Task") -> str | None:
        """How another task differs, in words; None if models of both can be compared row by row."""
        if not isinstance(other, Classification):
            return "a number to predict; the champion predicts classes"
        if self.labels == other.labels:
            return None
        return f"other classes ({listed(other.classes)}) than the champion ({listed(self.classes)})"


Task = Annotated[Classification | Regression, Field(discriminator="kind")]
"""Every kind of task."""

Outcome = ClassOutcome | NumberOutcome
Outcomes = ClassOutcomes | NumberOutcomes
"""The decision for one row, and the decisions for many."""


def listed(names: Sequence[str], most: int = 5) -> str:
    """At most `most` names in one line, for a message."""
    return ", ".join(names[:most]) + ", …" * (len(names) > most)
