"""What a training makes of each column of a table, what is lost by that, and the option that undoes it."""

import pandas as pd
from pandas.api.types import is_numeric_dtype

from tabserve.model import ColumnFacts
from tabserve.model.dates import part_column
from tabserve.model.metadata import NOT_USED
from tabserve.training.dataset import Dataset


def report_columns(dataset: Dataset) -> list[ColumnFacts]:
    """The facts of `Dataset.columns`, with what the first step of a pipeline makes of each column."""
    return [one if one.becomes == NOT_USED else _with_encoding(dataset, one) for one in dataset.columns]


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
