"""Values that are probably the same, written in two ways: `Yes` and `yes `, `1` and `1.0`."""

from collections.abc import Iterable, Mapping

import pandas as pd
from pandas.api.types import is_numeric_dtype

from tabserve.training.dataset import Dataset


def find_lookalikes(dataset: Dataset) -> Mapping[str, list[list[str]]]:
    """The columns with such values, the target too → the groups of values that look alike."""
    columns: list[pd.Series] = [column for _, column in dataset.features.items()]
    if dataset.target.dtype == object or isinstance(dataset.target.dtype, pd.StringDtype):
        columns.insert(0, dataset.target)
    found = {}
    for column in columns:
        if not is_numeric_dtype(column.dtype) and (groups := _groups(column.dropna().unique())):
            found[str(column.name)] = groups
    return found


def _groups(values: Iterable[object]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for value in map(str, values):
        groups.setdefault(_essence(value), []).append(value)
    return [sorted(group) for group in groups.values() if len(group) > 1]


def _essence(text: str) -> str:
    """What is left of a text without case and space; of a number, its value."""
    plain = " ".join(text.split()).casefold()
    try:
        return repr(float(plain))
    except ValueError:
        return plain
