"""The features of a table: which columns are used, as what, and what that loses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tabserve.model import ColumnFacts
from tabserve.model.dates import PARTS, PartName, date_numbers, part_column
from tabserve.model.metadata import NOT_USED
from tabserve.training.column_report import unused_column
from tabserve.training.columns import UNDECIDED_DATES, ReadColumn, as_text, read_feature, why_useless
from tabserve.training.config import ColumnOptions
from tabserve.training.dataset import DateColumn


@dataclass
class Features:
    """The features of a table.

    Attributes:
        columns: name → values, as in `Dataset.features`.
        booleans, dates, durations, left_out, facts: as in `Dataset`.
        problems: what is wrong with the names and the values of dates, a line each.
    """

    columns: dict[str, pd.Series] = field(default_factory=dict)
    booleans: dict[str, tuple[str, ...]] = field(default_factory=dict)
    dates: dict[str, DateColumn] = field(default_factory=dict)
    durations: set[str] = field(default_factory=set)
    left_out: dict[str, str] = field(default_factory=dict)
    facts: list[ColumnFacts] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def choose_features(
    labelled: pd.DataFrame, options: ColumnOptions, useless: Mapping[str, str] | None = None
) -> Features:
    """The features among the columns of a table. `labelled` has the rows with a target value, and columns of different
    names. `useless`: column that is known to be no feature, unless an option says so → the reason."""
    chosen = Features()
    by_option = dict.fromkeys(options.drop, "--drop") | dict.fromkeys(options.id, "--id")
    for name in labelled.columns.drop(options.target, errors="ignore"):
        if name in by_option:
            chosen.left_out[name] = by_option[name]
            chosen.facts.append(ColumnFacts(name=name, read_as=by_option[name], becomes=NOT_USED))
        elif name in options.categorical:
            _use(chosen, name, ReadColumn(as_text(labelled[name]), "text"))
        elif useless and name in useless and name not in options.keep:
            chosen.left_out[name] = useless[name]
            chosen.facts.append(unused_column(name, useless[name]))
        else:
            try:
                column = read_feature(labelled[name], options.dates, options.decimal)
            except ValueError as error:
                chosen.problems.append(f"column {name!r} can't be read: {error}: --drop '{name}'")
                continue
            reason = why_useless(column)
            if reason and name not in options.keep:
                chosen.left_out[name] = reason
                chosen.facts.append(unused_column(name, reason, column))
            else:
                _use(chosen, name, column)
    for name, date in chosen.dates.items():
        taken = [part_column(name, part) for part in date.parts if part_column(name, part) in labelled]
        chosen.problems += [
            f"column {column!r} has the name of a part of the date {name!r}: rename one of them, or --drop '{column}'"
            for column in taken
        ]
    return chosen


def _use(chosen: Features, name: str, column: ReadColumn) -> None:
    """Adds a column to the features."""
    values, read_as = column.values, column.kind if column.kind != "text" else "category"
    becomes, (lost, undo) = "", column.loss
    if column.kind == "boolean":
        values, becomes = values.astype("float64"), "1 or 0"
        chosen.booleans[name] = column.texts
    if column.kind == "date" and not column.is_undecided_date:
        date, parts = _parts(values)
        chosen.dates[name] = date
        becomes = ", ".join(date.parts).replace("days", "days since the first")
        for part, numbers in parts.items():
            chosen.columns[part_column(name, part)] = numbers
    else:
        chosen.columns[name] = values
    if column.kind == "duration":
        chosen.durations.add(name)
    detail = f": {column.how}" if column.how else ""
    chosen.facts.append(ColumnFacts(name=name, read_as=f"{read_as}{detail}", becomes=becomes, lost=lost, undo=undo))


def _parts(values: pd.Series) -> tuple[DateColumn, dict[PartName, pd.Series]]:
    """A column of dates, and those of its parts that vary."""
    moments = [None if moment is pd.NaT else moment for moment in values.to_numpy().tolist()]
    present = [moment for moment in moments if moment is not None]
    origin = min(present)
    numbers = date_numbers(moments, PARTS, origin)
    low, high = np.nanmin(numbers, axis=0), np.nanmax(numbers, axis=0)
    varying: Sequence[PartName] = [part for part, varies in zip(PARTS, low < high, strict=True) if varies] or ["year"]
    columns = {part: pd.Series(numbers[:, PARTS.index(part)], values.index) for part in varying}
    return DateColumn(values.reset_index(drop=True), origin, tuple(varying)), columns


def order_of(column: pd.Series, options: ColumnOptions) -> pd.Series:
    """The times by which `--split-by` orders the rows: float64 or datetime64.

    Raises:
        ValueError: they are no numbers or dates, or one is missing.
    """
    read = read_feature(column, options.dates, options.decimal)
    if read.is_undecided_date:
        raise ValueError(f"{UNDECIDED_DATES}: --dates dmy or --dates mdy")
    if read.kind not in ("date", "number", "duration"):
        raise ValueError("it holds neither dates nor numbers")
    if missing := int(read.values.isna().sum()):
        raise ValueError(f"{missing} rows lack it: fill it, or remove these rows")
    return read.values
