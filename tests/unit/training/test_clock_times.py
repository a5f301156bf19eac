"""Times of day and durations are read as seconds, or not at all."""

import pandas as pd
import pytest

from tabserve.training.clock_times import read_clock_times


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        (["14:30", "0:05"], [52_200, 300]),
        (["14:30:05", "23:59:59.25"], [52_205, 86_399.25]),
        (["12:00 AM", "2:30 pm", "12:15 p.m."], [0, 52_200, 44_100]),
        (["36:15", "100:00:01"], [130_500, 360_001]),
    ],
)
def test_times_become_seconds(values: list[str], seconds: list[float]) -> None:
    """Of the day, on a clock of 24 or of 12 hours, and longer than a day; a gap stays one. One text is shown with its
    number."""
    found = read_clock_times(pd.Series([*values, None], dtype="str"))
    assert found
    numbers, example = found
    assert numbers.tolist()[:-1] == seconds
    assert numbers.isna().tolist() == [False] * len(values) + [True]
    assert example == f"{values[0]} is {seconds[0]}"


@pytest.mark.parametrize(
    "values",
    [["14:60"], ["14:30:60"], ["13:00 PM"], ["0:30 am"], ["16:9"], ["14:30", "noon"], ["14:30Z"], [":30"], [None]],
)
def test_other_texts_are_no_times(values: list[str | None]) -> None:
    """Minutes beyond 59, hours that no clock of twelve has, ratios and other texts are no times."""
    assert read_clock_times(pd.Series(values, dtype="str")) is None
