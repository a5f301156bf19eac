"""Which task a target column asks for."""

from typing import Any

import pandas as pd
import pytest

from tabserve.training.task_choice import TaskChoice, choose_task


@pytest.mark.parametrize(
    ("values", "kind", "reason"),
    [
        (["1.5", "2", "3"], "regression", "it has fractions"),
        ([0.5, 1.0, None], "regression", "it has fractions"),
        (list(range(16)), "regression", "it has 16 different whole numbers"),
        (["16.0", *map(str, range(15))], "regression", "it has 16 different whole numbers"),
        ([f"${number}" for number in range(10, 26)], "regression", "it has 16 different whole numbers ($10 is 10)"),
        (list(range(15)), "classification", "it has 15 different whole numbers"),
        ([1.0, 2.0, None], "classification", "it has 2 different whole numbers"),
        ([f"0{number}" for number in range(30)], "classification", "its values are codes with leading zeros"),
        ([f"{number} kg" for number in range(30)], "classification", ""),
        (["1.5", "2.5", "n/k"], "classification", ""),
        ([True, False], "classification", ""),
        ([None, None], "classification", ""),
    ],
)
def test_task_follows_the_values(values: list[Any], kind: str, reason: str) -> None:
    """Numbers with fractions, and more than 15 different whole numbers, are a number to predict; the rest are classes.
    The reason says so."""
    assert choose_task(pd.Series(values, name="y")) == (kind, reason)


@pytest.mark.parametrize("wanted", ["classification", "regression"])
def test_task_that_a_person_wants_goes_first(wanted: Any) -> None:
    """--task overrules what the values say."""
    assert choose_task(pd.Series(["1.5", "a"]), wanted) == TaskChoice(wanted, "--task says so")
