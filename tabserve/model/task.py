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
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tabserve.model.arrays import Matrix, Vector
from tabserve.model.regression import NumberOutcome, NumberOutcomes, Regression

LabelType = Literal["text", "number", "boolean"]
"""The type that a table has for its classes."""

Label = str | bool | int | float
"""A class, in the type that the table has for it."""


class ClassOutcome(NamedTuple):
    """The decision for one row.

    Attributes:
        prediction: index of the class in `prediction_proba`.
        prediction_proba: one probability per class; they sum to 1.
        confidence: the probability of `prediction`.
        label: the class, in the table's type.
    """

    prediction: int
    prediction_proba: Sequence[float]
    confidence: float
    label: Label

    def reply(self) -> dict[str, object]:
        """The task's part of a reply, as a new dict. `_asdict` takes three times as long."""
        return {
            "prediction": self.prediction,
            "prediction_proba": self.prediction_proba,
            "confidence": self.confidence,
            "label": self.label,
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


Column = NDArray[np.intp] | NDArray[np.bool_] | Vector | Matrix | Labels
"""A column of a batch reply, one entry per row."""


@dataclass(frozen=True, slots=True)
class ClassOutcomes:
    """The decisions for many rows, as columns.

    Attributes:
        labels: the classes in the table's type, in the order of the probabilities.
        prediction: shape (rows,), the index of the class.
        prediction_proba: shape (rows, classes).
        confidence: shape (rows,).
    """

    labels: tuple[Label, ...]
    prediction: NDArray[np.intp]
    prediction_proba: Matrix
    confidence: Vector

    def __len__(self) -> int:
        return len(self.prediction)

    def __getitem__(self, rows: slice) -> "ClassOutcomes":
        """Some of the rows, copied into memory of their own."""
        return ClassOutcomes(
            self.labels,
            self.prediction[rows].copy(),
            self.prediction_proba[rows].copy(),
            self.confidence[rows].copy(),
        )

    def head(self) -> dict[str, object]:
        """What a batch reply says once."""
        return {}

    def columns(self) -> Mapping[str, Column]:
        """The columns of a batch reply, by key."""
        return {
            "prediction": self.prediction,
            "label": self._label_column(),
            "confidence": self.confidence,
            "prediction_proba": self.prediction_proba,
        }

    def outcomes(self) -> list[ClassOutcome]:
        """The decisions row by row."""
        columns = (self.prediction.tolist(), self.prediction_proba.tolist(), self.confidence.tolist())
        return [
            ClassOutcome(prediction, probabilities, confidence, self.labels[prediction])
            for prediction, probabilities, confidence in zip(*columns, strict=True)
        ]

    def _label_column(self) -> Column:
        texts = tuple(label for label in self.labels if isinstance(label, str))
        return Labels(self.prediction, texts) if texts else np.array(self.labels)[self.prediction]


class Classification(BaseModel):
    """Each row belongs to one of several classes. The model gives one probability per class.

    Attributes:
        classes: the class names, in the order of the probabilities: numbers by their size, texts by the alphabet.
        label_type: the type that the table has for its classes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["classification"] = "classification"
    classes: tuple[str, ...] = Field(min_length=2)
    label_type: LabelType = "text"

    @model_validator(mode="after")
    def _classes_have_the_type(self) -> Self:
        if len(set(self.labels)) != len(self.classes):
            raise ValueError("the classes must differ")
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
        """The most probable class of one row; of equal probabilities the first, as in scikit-learn."""
        confidence = max(outputs)
        prediction = outputs.index(confidence)
        return ClassOutcome(prediction, outputs, confidence, self.labels[prediction])

    def decide_rows(self, outputs: Matrix) -> ClassOutcomes:
        """The same for many rows: `outputs` has shape (rows, classes)."""
        prediction = outputs.argmax(axis=1)
        return ClassOutcomes(self.labels, prediction, outputs, outputs[np.arange(len(outputs)), prediction])

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
