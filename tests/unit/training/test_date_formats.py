"""Texts that are dates are read as the days that people mean, or not at all."""

from datetime import datetime

import pandas as pd
import pytest

from tabserve.training.date_formats import DayOrder, read_compact_dates, read_text_dates, unread_dates


def texts(*values: str | None) -> pd.Series:
    return pd.Series(values, dtype="str")


@pytest.mark.parametrize(
    ("values", "order", "moments"),
    [
        (["2024-01-31", "2024-02-01"], "any", ["2024-01-31", "2024-02-01"]),
        (["2024-01-31T10:00:00", "2024-02-01 11:30"], "any", ["2024-01-31T10:00", "2024-02-01T11:30"]),
        (["2024/1/31"], "any", ["2024-01-31"]),
        (["1/13/2024", "2/1/2024"], "mdy", ["2024-01-13", "2024-02-01"]),
        (["13.1.2024", "1.2.2024"], "dmy", ["2024-01-13", "2024-02-01"]),
        (["13-01-2024 7:05"], "dmy", ["2024-01-13T07:05"]),
        (
            ["3 Jan 2024", "04 FEBRUARY 2024", "5. Sept 2024 7:05"],
            "any",
            ["2024-01-03", "2024-02-04", "2024-09-05T07:05"],
        ),
        (["Jan 3, 2024", "March 31 2024 2:30 PM"], "any", ["2024-01-03", "2024-03-31T14:30"]),
        (["03-JAN-2024", "01MAY2024"], "any", ["2024-01-03", "2024-05-01"]),
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
        ["30 Feb 2024"],
        ["3 Mai 2024"],
        ["3 Jan 24"],
        ["Jan 2024"],
        ["3 Jan 2024", "2024-01-04"],
        ["1/13-2024"],
        ["1/13/2024 13:00 PM"],
        ["2024"],
        [None],
    ],
)
def test_other_texts_are_not_dates(values: list[str | None]) -> None:
    """Days that don't exist, several forms in one column, short years, other languages and other texts are no dates."""
    assert read_text_dates(texts(*values), None) is None


def test_numbers_of_eight_digits_are_dates_if_all_are_days() -> None:
    """A single other number, a fraction, too few different ones, or years beyond 1900 to 2099 make them numbers."""
    found = read_compact_dates(pd.Series([20240131.0, 20240229.0, 19991231.0, None]))
    assert found is not None
    assert found.dropna().tolist() == [
        datetime.fromisoformat(text) for text in ("2024-01-31", "2024-02-29", "1999-12-31")
    ]
    assert found.isna().tolist() == [False, False, False, True]
    for other in (20240132, 20230229, 20241301, 20240131.5, 18991231, 21000101, 2024013, 0):
        assert read_compact_dates(pd.Series([20240131.0, 20240229.0, 19991231.0, other])) is None
    assert read_compact_dates(pd.Series([20240131.0, 20240229.0] * 9)) is None


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        (["1/13/24", "2/1/24"], "write them as 2024-01-31"),
        (["13/1/2024", "1/13/2024"], "write them as 2024-01-31"),
        (["2024-01", "2024-02"], "write them as 2024-01-31"),
        (["Jan 2024", "03-JAN-24"], "write them as 2024-01-31"),
        (["2024-01-31", "2024-02-01", "n/k"], "--missing 'n/k', or write them as 2024-01-31"),
        (["1.2.3", "1.2.4"], ""),
        (["10.0.12.1", "10.0.12.7"], ""),
        (["march", "may"], ""),
        (["1234-56", "red"], ""),
    ],
)
def test_dates_that_are_not_read_get_a_hint(values: list[str], hint: str) -> None:
    """Short years, months alone, several forms and a text among dates: the report says what to do. Other texts with
    digits and points get none."""
    assert unread_dates(texts(*values))[1] == hint
