"""Which task a target column asks for: a number to predict, or classes."""

from typing import NamedTuple

import pandas as pd

from tabserve.training.columns import read_column
from tabserve.training.number_formats import DecimalSign
from tabserve.training.tasks import TaskKind

MOST_WHOLE_NUMBERS = 15
"""A target of more different whole numbers is a number to predict; of fewer, classes."""


class TaskChoice(NamedTuple):
    """The kind of task, and why; the reason is empty if there is no other choice."""

    kind: TaskKind
    reason: str


def choose_task(target: pd.Series, wanted: TaskKind | None = None, decimal: DecimalSign | None = None) -> TaskChoice:
    """The task of a target column as the table has it; the one that a person wants goes first. `decimal`: the decimal
    sign of numbers whose values don't say it."""
    try:
        column = read_column(target.dropna(), decimal=decimal)
    except ValueError:  # impossible dates
        return TaskChoice(wanted or "classification", "--task says so" if wanted else "")
    how = ""
    if column.kind in ("number", "duration"):
        other = f"; other: {column.loss[1]}" * column.loss[1].startswith("--decimal")
        how = f" ({column.how}{other})" * bool(column.how)
    if wanted:
        return TaskChoice(wanted, f"--task says so{how if wanted == 'regression' else ''}")
    if column.kind == "code":
        return TaskChoice("classification", "its values are codes with leading zeros")
    if column.kind not in ("number", "duration"):
        return TaskChoice("classification", "")
    numbers = column.values
    distinct = numbers.nunique()
    if (numbers != numbers.round()).any():
        return TaskChoice("regression", f"it has fractions{how}")
    if distinct > MOST_WHOLE_NUMBERS:
        return TaskChoice("regression", f"it has {distinct} different whole numbers{how}")
    return TaskChoice("classification", f"it has {distinct} different whole numbers")
