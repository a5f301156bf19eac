"""A labelled table in memory: features and target; and its split into training rows and held-out rows."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_iris as sklearn_iris
from sklearn.model_selection import train_test_split

from tabserve.errors import DataError
from tabserve.model import DatasetFacts, Task
from tabserve.training.tasks import task_training

HASHED_ROWS = 100_000
"""How many rows are hashed at a time. The whole table as text would take as much memory as the table."""

RowNumbers = NDArray[np.intp]
"""Shape (rows,): the places of some rows in a table."""


@dataclass(frozen=True)
class Dataset:
    """A labelled table.

    Attributes:
        name: its name in messages and in the metadata.
        features: shape (rows, features), a column per feature: float64 for numbers, str for categories.
        target: shape (rows,), what the model shall predict.
        task: the task of a model of the whole table; a part of the table has the same task.
        missing: feature → how many rows of the whole table lack it, if any do. Their value is NaN.
        left_out: column that is no feature → the reason.
        unlabelled: how many rows were left out because they have no target value.
        task_reason: why it has this kind of task; empty if it needs no reason.
        notes: what was found out when it was read, a line each.
    """

    name: str
    features: pd.DataFrame
    target: pd.Series
    task: Task
    missing: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    unlabelled: int = 0
    task_reason: str = ""
    notes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.target)

    def part(self, rows: RowNumbers) -> "Dataset":
        """These rows, in this order."""
        return replace(self, features=self.features.iloc[rows], target=self.target.iloc[rows])

    @property
    def frame(self) -> pd.DataFrame:
        """Features and target side by side."""
        return self.features.assign(**{str(self.target.name): self.target})

    @property
    def digest(self) -> str:
        """SHA-256 of the table as CSV, in hex: the same values in the same order give the same digest."""
        digest, frame = hashlib.sha256(), self.frame
        for start in range(0, len(frame), HASHED_ROWS):
            digest.update(frame.iloc[start : start + HASHED_ROWS].to_csv(index=False, header=not start).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Split:
    """A table in two parts that share no row."""

    whole: Dataset
    training: Dataset
    held_out: Dataset

    def with_task(self, task: Task) -> "Split":
        """The same rows with another task."""
        return Split(*(replace(part, task=task) for part in (self.whole, self.training, self.held_out)))

    def facts(self) -> DatasetFacts:
        """The table in numbers, with its digest."""
        return DatasetFacts(
            name=self.whole.name,
            rows=len(self.whole),
            training_rows=len(self.training),
            held_out_rows=len(self.held_out),
            features=len(self.whole.features.columns),
            sha256=self.whole.digest,
            **task_training(self.whole.task.kind).dataset_facts(self.whole.task),
        )


def load_iris() -> Dataset:
    """Fisher's Iris (1936) as scikit-learn ships it: 150 rows, 4 lengths in cm, 3 species of 50 rows each."""
    bunch = sklearn_iris(as_frame=True)
    features = bunch.data.rename(columns=lambda name: name.removesuffix(" (cm)").replace(" ", "_"))
    target = bunch.target.map(dict(enumerate(bunch.target_names.tolist()))).astype(object).rename("species")
    return Dataset("iris", features.astype("float64"), target, task_training("classification").model_task(target))


def split(dataset: Dataset, test_size: float, seed: int) -> Split:
    """Holds out the share `test_size` of the rows, at random; the same seed holds out the same rows.

    A task that has groups of rows, such as the classes, keeps their shares in both parts.

    Raises:
        DataError: a part would be empty, or lack a group.
    """
    strata = task_training(dataset.task.kind).strata(dataset.target)
    try:
        training, held_out = train_test_split(
            np.arange(len(dataset)), test_size=test_size, random_state=seed, stratify=strata
        )
    except ValueError as error:
        raise DataError(f"test size {test_size:g} can't split {len(dataset)} rows: {error}") from error
    return Split(dataset, dataset.part(training), dataset.part(held_out))
