"""A labelled table in, rows and target; and its split into training and held-out rows."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_iris as sklearn_iris
from sklearn.model_selection import train_test_split

from tabserve.errors import DataError
from tabserve.model.metadata import DatasetFacts

PIECE = 100_000
"""How many rows are hashed at a time."""


@dataclass(frozen=True)
class Table:
    """A labelled table.

    Attributes:
        name: what people call it.
        features: shape (rows, features), one named column a feature: float64 for numbers, str for categories.
        target: shape (rows,), the class of each row by name.
        missing: of each feature that some rows lack, how many of the whole table's do; NaN stands in their place.
        left_out: column → why it is no feature.
        unlabelled: how many rows were left out, for they have no class.
    """

    name: str
    features: pd.DataFrame
    target: pd.Series
    missing: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    unlabelled: int = 0

    def __len__(self) -> int:
        return len(self.target)

    def part(self, rows: NDArray[np.intp]) -> "Table":
        """These rows of it, by their places."""
        return replace(self, features=self.features.iloc[rows], target=self.target.iloc[rows])

    @property
    def classes(self) -> list[str]:
        return sorted(self.target.unique().tolist())

    @property
    def frame(self) -> pd.DataFrame:
        """Features and target side by side."""
        return self.features.assign(**{str(self.target.name): self.target})

    @property
    def digest(self) -> str:
        """SHA-256 of the table as CSV, in hex: the same values in the same order give the same digest."""
        digest, frame = hashlib.sha256(), self.frame
        for start in range(0, len(frame), PIECE):  # the whole as a text would take as much memory as the table
            digest.update(frame.iloc[start : start + PIECE].to_csv(index=False, header=not start).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Split:
    """A table in two parts that share no row."""

    whole: Table
    training: Table
    held_out: Table

    def facts(self) -> DatasetFacts:
        """The table in numbers, with its digest."""
        return DatasetFacts(
            name=self.whole.name,
            rows=len(self.whole),
            training_rows=len(self.training),
            held_out_rows=len(self.held_out),
            features=len(self.whole.features.columns),
            classes=len(self.whole.classes),
            sha256=self.whole.digest,
        )


def load_iris() -> Table:
    """Fisher's Iris (1936) as scikit-learn ships it: 150 rows, 4 lengths in cm, 3 species of 50 rows each."""
    bunch = sklearn_iris(as_frame=True)
    features = bunch.data.rename(columns=lambda name: name.removesuffix(" (cm)").replace(" ", "_"))
    target = bunch.target.map(dict(enumerate(bunch.target_names.tolist()))).astype(object).rename("species")
    return Table("iris", features.astype("float64"), target)


def split(table: Table, test_size: float, seed: int) -> Split:
    """Holds out the share `test_size` of the rows, stratified by class; the same seed holds out the same rows.

    Raises:
        DataError: one part would lack a class.
    """
    try:
        inside, outside = train_test_split(
            np.arange(len(table)), test_size=test_size, random_state=seed, stratify=table.target
        )
    except ValueError as error:
        raise DataError(f"test size {test_size:g} can't split {len(table)} rows: {error}") from error
    return Split(table, table.part(inside), table.part(outside))
