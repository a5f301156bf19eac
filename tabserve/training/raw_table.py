"""A table as its file or database has it, before anything is inferred from its values."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

NAMELESS = "column_"
"""A column without a name gets this one, with its number."""


@dataclass(frozen=True)
class RawTable:
    """The columns as they stand. Two may have the same name, and a name may be empty.

    Attributes:
        frame: of CSV every column as texts, otherwise the types that the source has.
        notes: what the reader had to find out, a line each.
        read_as_missing: column → text → how many values were this text, and count as missing now.
        left_out: column that is no feature → the reason.
        has_types: whether the source tells a text from a number; CSV doesn't.
    """

    frame: pd.DataFrame
    notes: Sequence[str] = ()
    read_as_missing: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    has_types: bool = True

    def without(self, missing: Collection[str]) -> "RawTable":
        """The table without these texts, and the numbers that are equal to one: each counts as missing."""
        found: dict[str, dict[str, int]] = {}
        columns = []
        for name, column in self.frame.items():
            hits = _equals_any(column, missing)
            if hits is not None and hits.any():
                counts = column[hits].value_counts()
                found[str(name)] = {str(text): int(count) for text, count in counts.items()}
                columns.append(column.mask(hits))
            else:
                columns.append(column)
        if not found:
            return self
        frame = pd.concat(columns, axis=1)
        return replace(self, frame=frame.set_axis(self.frame.columns, axis=1), read_as_missing=found)

    def named(self) -> "RawTable":
        """The table with a name for each column. Empty columns without a name are left out, and so is a first one that
        is different in each row: it is an index, as pandas and R write one."""
        names, notes, left_out = list(map(str, self.frame.columns)), list(self.notes), dict(self.left_out)
        keep = [bool(name) or bool(self.frame.iloc[:, place].notna().any()) for place, name in enumerate(names)]
        if count := keep.count(False):
            notes.append(f"left out: {count} empty column{'s' * (count > 1)} without a name")
        for place, name in enumerate(names):
            if name or not keep[place]:
                continue
            names[place] = f"{NAMELESS}{place + 1}"
            column = self.frame.iloc[:, place]
            if place == 0 and column.is_unique and column.notna().all():
                left_out[names[place]] = "an index: it has no name, and another value in each row"
            else:
                notes.append(f"column {place + 1} has no name, and is called {names[place]}")
        frame = self.frame.set_axis(names, axis=1).loc[:, keep]
        return replace(self, frame=frame, notes=notes, left_out=left_out)


def _equals_any(column: pd.Series, texts: Collection[str]) -> pd.Series | None:
    """Which values are one of the texts, or of numbers equal to one; None if the column has neither."""
    if isinstance(column.dtype, pd.StringDtype):
        return column.isin(list(texts))
    if pd.api.types.is_object_dtype(column.dtype):
        return column.map(lambda value: isinstance(value, str) and value in texts).astype(bool)
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        numbers = pd.to_numeric(pd.Series(list(texts), dtype="str"), errors="coerce").dropna()
        return column.isin(numbers)
    return None
