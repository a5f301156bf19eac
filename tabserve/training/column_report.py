"""What a training makes of each column of a table, what is lost by that, and the option that undoes it."""

import pandas as pd
from pandas.api.types import is_numeric_dtype

from tabserve.model import ColumnFacts
from tabserve.model.dates import part_column
from tabserve.model.metadata import NOT_USED
from tabserve.training.columns import UNDECIDED_DATES
from tabserve.training.dataset import Dataset


def report_columns(dataset: Dataset) -> list[ColumnFacts]:
    """The facts of `Dataset.columns`, with what the first step of a pipeline makes of each column; and of the others
    that are left out."""
    report = [one if one.becomes == NOT_USED else _with_encoding(dataset, one) for one in dataset.columns]
    known = {one.name for one in report}
    return report + [unused_column(name, why) for name, why in dataset.left_out.items() if name not in known]


def _with_encoding(dataset: Dataset, column: ColumnFacts) -> ColumnFacts:
    date = dataset.dates.get(column.name)
    first_column = part_column(column.name, date.parts[0]) if date else column.name
    becomes, lost, undo = _encoding(dataset.features[first_column], dataset.missing.get(first_column, 0))
    if column.becomes:
        becomes = column.becomes + becomes.removeprefix("itself")
    return column.model_copy(
        update={
            "becomes": becomes,
            "lost": "; ".join(filter(None, [column.lost, lost])),
            "undo": "; ".join(filter(None, [column.undo, undo])),
        }
    )


def _encoding(values: pd.Series, missing: int) -> tuple[str, str, str]:
    """What becomes of a column of `Dataset.features`, what is lost by that, and the option that undoes it."""
    if not is_numeric_dtype(values.dtype):
        return "a column for each; rare ones share one", "", ""
    return ("itself; the median where missing", "which rows lack it", "") if missing else ("itself", "", "")


def unused_column(name: str, reason: str) -> ColumnFacts:
    """The facts of a column that is left out."""
    if reason == UNDECIDED_DATES:
        return ColumnFacts(
            name=name, read_as=reason, becomes=NOT_USED, lost="all of it", undo="--dates dmy or --dates mdy"
        )
    read_as = reason.removeprefix("a ").removeprefix("an ")
    if reason.startswith("a constant") and not reason.endswith("missing"):
        return ColumnFacts(name=name, read_as=read_as, becomes=NOT_USED)
    return ColumnFacts(name=name, read_as=read_as, becomes=NOT_USED, lost="all of it", undo=f"--keep '{name}'")
