"""Texts that are dates are read as the days that people mean, or not at all."""

from datetime import datetime

import pandas as pd
import pytest

from tabserve.training.date_formats import DayOrder, read_text_dates


def texts(*values: str | None) -> pd.Series:
    return pd.Series(values, dtype="str")


@pytest.mark.parametrize(
    ("values", "order", "moments"),
    [
        (["2024-01-31", "2024-02-01"], "iso", ["2024-01-31", "2024-02-01"]),
        (["2024-01-31T10:00:00", "2024-02-01 11:30"], "iso", ["2024-01-31T10:00", "2024-02-01T11:30"]),
        (["2024/1/31"], "iso", ["2024-01-31"]),
        (["1/13/2024", "2/1/2024"], "mdy", ["2024-01-13", "2024-02-01"]),
        (["13.1.2024", "1.2.2024"], "dmy", ["2024-01-13", "2024-02-01"]),
        (["13-01-2024 7:05"], "dmy", ["2024-01-13T07:05"]),
        (["1/13/2024 12:05 AM", "1/13/2024 1:05:09 pm"], "mdy", ["2024-01-13T00:05", "2024-01-13T13:05:09"]),
    ],
)
def test_dates_are_read(values: list[str], order: str, moments: list[str]) -> None:
    """ISO, day first and month first are told apart by the values of the column; gaps stay gaps."""
    found = read_text_dates(texts(*values, None), None)
    assert found
    assert found.order == order
    assert found.values is not None
    assert found.values.dropna().tolist() == [datetime.fromisoformat(text) for text in moments]
    assert found.values.isna().tolist() == [False] * len(values) + [True]


def test_dates_in_utc_lose_no_zone() -> None:
    """Z and an offset of 0 say UTC, in which times count anyway."""
    found = read_text_dates(texts("2024-01-01T01:00:00+00:00", "2024-01-01T01:00:00Z", "2024-01-01 01:00+0000"), None)
    assert found
    assert not found.have_zones


def test_zones_count_in_utc() -> None:
    """A time with a zone is in UTC, one without stays as it is."""
    found = read_text_dates(texts("2024-01-01T01:00:00+02:00", "2024-01-01T01:00:00Z", "2024-01-01T01:00:00"), None)
    assert found
    assert found.values is not None
    assert found.have_zones
    assert found.values.dt.hour.tolist() == [23, 1, 1]


@pytest.mark.parametrize(("order", "month"), [("dmy", 2), ("mdy", 1)])
def test_order_is_undecided_unless_it_is_given(order: DayOrder, month: int) -> None:
    """If no number is above 12, only the option can tell the day from the month."""
    undecided = read_text_dates(texts("1/2/2024", "3/2/2024"), None)
    assert undecided
    assert undecided.values is None
    decided = read_text_dates(texts("1/2/2024"), order)
    assert decided
    assert decided.values is not None
    assert decided.values.dt.month.tolist() == [month]


@pytest.mark.parametrize(
    "values",
    [
        ["2024-02-30"],
        ["13/1/2024", "1/13/2024"],
        ["32/1/2024"],
        ["1/13/2024", "today"],
        ["2024-01-01", "1/13/2024"],
        ["1/13/24"],
        ["1/13-2024"],
        ["1/13/2024 13:00 PM"],
        ["2024"],
        [None],
    ],
)
def test_other_texts_are_not_dates(values: list[str | None]) -> None:
    """Days that don't exist, several orders in one column, short years and other texts are no dates."""
    assert read_text_dates(texts(*values), None) is None
