"""A labelled table in memory: features and target; and its split into training rows and held-out rows."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_iris as sklearn_iris
from sklearn.model_selection import train_test_split

from tabserve.errors import DataError
from tabserve.model import ColumnFacts, DatasetFacts, Task
from tabserve.model.dates import PartName, part_column
from tabserve.training.tasks import task_training

HASHED_ROWS = 100_000
"""How many rows are hashed at a time. The whole table as text would take as much memory as the table."""


@dataclass(frozen=True)
class DateColumn:
    """A column of dates.

    Attributes:
        values: shape (rows,), datetime64[us], in UTC where the table has zones.
        origin: the first date of the table, from which days are counted.
        parts: the parts that vary, each a column of `Dataset.features` under the name that `part_column` gives it.
    """

    values: pd.Series
    origin: datetime
    parts: tuple[PartName, ...]


RowNumbers = NDArray[np.intp]
"""Shape (rows,): the places of some rows in a table."""


@dataclass(frozen=True)
class Dataset:
    """A labelled table.

    Attributes:
        name: its name in messages and in the metadata.
        features: shape (rows, columns), a column per feature: float64 for numbers, str for categories, 1.0 and 0.0 for
            booleans; of a date a column of float64 for each of its parts.
        target: shape (rows,), what the model shall predict.
        task: the task of a model of the whole table; a part of the table has the same task.
        missing: column of `features` → how many rows of the whole table lack it, if any do. Their value is NaN.
        left_out: column that is no feature → the reason.
        unlabelled: how many rows were left out because they have no target value.
        task_reason: why it has this kind of task; empty if it needs no reason.
        booleans: feature of booleans → how the table writes them, if it is a table of texts.
        dates: feature of dates → its values and parts.
        durations: the features that are durations, in seconds.
        columns: how each column of the table but the target was read; `becomes` is empty for one that becomes a
            column of `features` as it is.
        order: shape (rows,), the times of the rows, if the latest rows are to be held out.
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
    booleans: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dates: Mapping[str, DateColumn] = field(default_factory=dict)
    durations: frozenset[str] = frozenset()
    columns: Sequence[ColumnFacts] = ()
    order: pd.Series | None = None
    notes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.target)

    def part(self, rows: RowNumbers) -> "Dataset":
        """These rows, in this order."""
        order = None if self.order is None else self.order.iloc[rows]
        dates = {name: replace(date, values=date.values.iloc[rows]) for name, date in self.dates.items()}
        features, target = self.features.iloc[rows], self.target.iloc[rows]
        return replace(self, features=features, target=target, dates=dates, order=order)

    @cached_property
    def feature_of(self) -> Mapping[str, str]:
        """Column of `features` → the name of the feature, which differs for parts of dates."""
        dates = {part_column(name, part): name for name, date in self.dates.items() for part in date.parts}
        return {name: dates.get(name, name) for name in map(str, self.features.columns)}

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
            features=len(set(self.whole.feature_of.values())),
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
    """Holds out the share `test_size` of the rows: the latest ones if the table has an order, else at random, where the
    same seed holds out the same rows.

    At random, a task that has groups of rows, such as the classes, keeps their shares in both parts.

    Raises:
        DataError: a part would be empty, or lack a group.
    """
    if dataset.order is not None:
        from tabserve.training.time_split import latest_rows

        early, late = latest_rows(dataset, test_size)
        return Split(dataset, dataset.part(early), dataset.part(late))
    strata = task_training(dataset.task.kind).strata(dataset.target)
    try:
        training, held_out = train_test_split(
            np.arange(len(dataset)), test_size=test_size, random_state=seed, stratify=strata
        )
    except ValueError as error:
        raise DataError(f"test size {test_size:g} can't split {len(dataset)} rows: {error}") from error
    return Split(dataset, dataset.part(training), dataset.part(held_out))
