"""Which task a target column asks for: a number to predict, or classes."""

from typing import NamedTuple

import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from tabserve.training.columns import as_inferred
from tabserve.training.number_formats import is_code
from tabserve.training.tasks import TaskKind

MOST_WHOLE_NUMBERS = 15
"""A target of more different whole numbers is a number to predict; of fewer, classes."""


class TaskChoice(NamedTuple):
    """The kind of task, and why; the reason is empty if there is no other choice."""

    kind: TaskKind
    reason: str


def choose_task(target: pd.Series, wanted: TaskKind | None = None) -> TaskChoice:
    """The task of a target column as the table has it; the one that a person wants goes first."""
    if wanted:
        return TaskChoice(wanted, "--task says so")
    present = target.dropna()
    numbers = as_inferred(present)
    if not is_numeric_dtype(present.dtype) and is_code(present.astype("str")):
        return TaskChoice("classification", "its values are codes with leading zeros")
    if not len(present) or not is_numeric_dtype(numbers.dtype) or is_bool_dtype(present) or is_bool_dtype(numbers):
        return TaskChoice("classification", "")
    distinct = numbers.nunique()
    if (numbers != numbers.round()).any():
        return TaskChoice("regression", "it has fractions")
    if distinct > MOST_WHOLE_NUMBERS:
        return TaskChoice("regression", f"it has {distinct} different whole numbers")
    return TaskChoice("classification", f"it has {distinct} different whole numbers")
