"""A number to predict: its interval, for one row and for many."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tabserve.model import Classification, Regression

TASK = Regression(
    target_minimum=0.0,
    target_maximum=100.0,
    target_spread=20.0,
    target_deciles=(10.0, 50.0, 90.0),
    coverage=0.8,
    interval_bounds=(20.0, 60.0),
    interval_radii=(1.0, 5.0, 12.5),
)


@pytest.mark.parametrize(
    ("number", "interval"),
    [
        (-7.5, [-8.5, -6.5]),
        (20.0, [19.0, 21.0]),
        (20.5, [15.5, 25.5]),
        (60.0, [55.0, 65.0]),
        (1e3, [987.5, 1012.5]),
    ],
)
def test_width_of_an_interval_depends_on_the_prediction(number: float, interval: list[float]) -> None:
    """The interval lies around the number, as wide as its group of predictions says; a group includes its bound."""
    assert TASK.decide([number]).interval == interval


@given(st.lists(st.sampled_from([-1.0, 20.0, 20.000000000000004, 60.0, 61.0, 1e300])))
def test_many_rows_are_decided_as_row_by_row(numbers: list[float]) -> None:
    """`decide_rows` gives the same numbers and intervals as `decide` on each row, no rows at all included."""
    outcomes = TASK.decide_rows(np.array(numbers).reshape(-1, 1))
    assert outcomes.outcomes() == [TASK.decide([number]) for number in numbers]
    assert len(outcomes) == len(numbers)


def test_interval_begins_at_its_minimum() -> None:
    """Where it would begin below; alone and among other rows."""
    positive = TASK.model_copy(update={"interval_minimum": 0.0})
    assert positive.decide([0.5]).interval == [0.0, 1.5]
    assert positive.decide([3.0]).interval == [2.0, 4.0]
    assert positive.decide_rows(np.array([[0.5], [3.0]])).interval.tolist() == [[0.0, 1.5], [2.0, 4.0]]


def test_reply_has_the_keys_of_a_number() -> None:
    """The task's part of a reply has exactly these keys. A batch has the columns of a reply, and the coverage once."""
    outcome = TASK.decide([30.0])
    assert outcome.reply() == {"prediction": 30.0, "interval": [25.0, 35.0], "coverage": 0.8}
    outcomes = TASK.decide_rows(np.array([[30.0], [70.0]]))
    assert outcomes.columns().keys() | outcomes.head().keys() == outcome.reply().keys()
    assert outcomes.head() == {"coverage": 0.8}


def test_slice_owns_its_memory() -> None:
    """A slice of the outcomes holds the chosen rows, in arrays of its own."""
    outcomes = TASK.decide_rows(np.array([[1.0], [2.0], [3.0]]))
    part = outcomes[1:]
    assert part.outcomes() == outcomes.outcomes()[1:]
    assert not np.shares_memory(part.prediction, outcomes.prediction)
    assert not np.shares_memory(part.interval, outcomes.interval)


def test_numbers_can_be_compared_with_numbers_only() -> None:
    """Two models of a number can be compared whatever their ranges; one of a number and one of classes can't."""
    classes = Classification(classes=("a", "b"))
    assert TASK.difference_from(TASK.model_copy(update={"target_maximum": 1.0})) is None
    assert TASK.difference_from(classes) == "classes to predict; the champion predicts a number"
    assert classes.difference_from(TASK) == "a number to predict; the champion predicts classes"


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval_radii": (1.0, 5.0)},
        {"interval_radii": (1.0, 5.0, -1.0)},
        {"interval_bounds": (60.0, 20.0)},
        {"target_deciles": (10.0, 10.0)},
        {"target_spread": 0.0},
        {"coverage": 1.0},
        {"target_minimum": float("nan")},
    ],
)
def test_inconsistent_task_is_refused(wrong: dict[str, object]) -> None:
    """Each group of predictions has half a width, bounds ascend, and the numbers are possible."""
    with pytest.raises(ValidationError):
        Regression(**TASK.model_dump() | wrong)
