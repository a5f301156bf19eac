"""Texts and numbers that are dates, in the forms in which people write them."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd

from tabserve.model.dates import read_date
from tabserve.training.clock_times import CLOCK, hour_of

T = TypeVar("T")
DayOrder = Literal["dmy", "mdy"]

MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip

MIN_COMPACT = 3
"""So many different numbers of eight digits must be days for a column to be one of dates. Of all such numbers, one in
1,200 is a day of the years 1900 to 2099."""

DATED_SHARE = 0.5
"""If at least this share of the texts of a column look like dates, the report says what to do."""

_TIME = rf"(?:[T ]+{CLOCK})?"
_NAMED = tuple(
    re.compile(form + _TIME, re.ASCII)
    for form in (
        r"(?P<day>\d{1,2})[ .-]*(?P<month>[A-Za-z]+)[ .,-]*(?P<year>\d{4})",
        r"(?P<month>[A-Za-z]+)[ .-]+(?P<day>\d{1,2})[ ,-]+(?P<year>\d{4})",
    )
)
_LIKE_A_DATE = re.compile(
    r"(0?[1-9]|[12]\d|3[01])([/.-])(0?[1-9]|[12]\d|3[01])\2(\d\d|\d{4})([ T].*)?"
    r"|(19|20)\d\d[/.-](0?[1-9]|1[0-2])([/. T-].*)?"
    rf"|(?=.*\d)[\d ,./'-]*({'|'.join(f'{name[:3]}({name[3:]})?' for name in MONTHS)})[\d ,./':-]*",
    re.ASCII | re.IGNORECASE,
)
_WRITTEN = re.compile(rf"(\d{{1,2}})([/.-])(\d{{1,2}})\2(\d{{4}}){_TIME}", re.ASCII)
_YEAR_FIRST = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})(.*)", re.ASCII)


@dataclass(frozen=True)
class TextDates:
    """A column of texts that are dates.

    Attributes:
        values: datetime64[us], in UTC where a text has a zone; None if the order of day and month isn't known.
        order: which comes first, if that matters.
        have_zones: whether a text has a zone other than UTC.
    """

    values: pd.Series | None
    order: Literal["any"] | DayOrder | None
    have_zones: bool = False


def read_text_dates(texts: pd.Series, order: DayOrder | None) -> TextDates | None:
    """The dates of a column of texts; None if a text is none.

    Where the year stands last, a first number above 12 is a day in all of them, and so is a second one. If there is
    neither, `order` decides.
    """
    distinct = texts.dropna().unique().tolist()
    if not distinct:
        return None
    certain = _moments(distinct, _read_iso) or _moments(distinct, _read_named)
    if certain:
        zones = any(re.search(r"[+-](?!00:?00)\d\d:?\d\d$", text) for text in distinct if ":" in text)
        return TextDates(_mapped(texts, distinct, certain), "any", zones)
    written = list(_matches(distinct))
    if len(written) < len(distinct):
        return None
    first_is_day, second_is_day = (any(int(match[group]) > 12 for match in written) for group in (1, 3))
    if first_is_day and second_is_day:
        return None
    known: DayOrder | None = "dmy" if first_is_day else "mdy" if second_is_day else order
    if known is None:
        return TextDates(None, None)
    moments = _moments(written, lambda match: _read_written(match, day_first=known == "dmy"))
    return TextDates(_mapped(texts, distinct, moments), known) if moments else None


def _matches(texts: list[str]) -> Iterable[re.Match[str]]:
    """The match of each text, up to the first text that is no date."""
    for text in texts:
        match = _WRITTEN.fullmatch(text.strip())
        if not match:
            return
        yield match


def _moments(texts: list[T], read: Callable[[T], datetime]) -> list[datetime]:
    """The moment of each text, or an empty list if one is none."""
    try:
        return [read(text) for text in texts]
    except ValueError:
        return []


def _read_iso(text: str) -> datetime:
    if match := _YEAR_FIRST.fullmatch(text.strip()):
        year, month, day, time = match.groups()
        return read_date(f"{year}-{month:0>2}-{day:0>2}{time}")
    return read_date(text.strip())


def _read_written(match: re.Match[str], *, day_first: bool) -> datetime:
    day, month = (match[1], match[3]) if day_first else (match[3], match[1])
    return _moment(f"{match[4]}-{month:0>2}-{day:0>2}", match)


def _read_named(text: str) -> datetime:
    """The moment of a date with the English name of its month, of which three letters are enough."""
    for form in _NAMED:
        if match := form.fullmatch(text.strip()):
            name = match["month"].lower()
            for number, month in enumerate(MONTHS, 1):
                if name in (month, month[:3], month[:4]):
                    return _moment(f"{match['year']}-{number:02}-{match['day']:0>2}", match)
    raise ValueError("it has no name of a month")


def _moment(day: str, match: re.Match[str]) -> datetime:
    """The moment of an ISO day, with the time that the match has, or midnight."""
    return read_date(f"{day}T{hour_of(match):02}:{match['minute'] or '00'}:{match['second'] or '00'}")


def read_compact_dates(numbers: pd.Series) -> pd.Series | None:
    """Numbers such as 20240131 as dates, datetime64[us]; None unless all are days of the years 1900 to 2099, and
    `MIN_COMPACT` of them differ."""
    if not (numbers.min() >= 19000101 and numbers.max() <= 20991231):  # cheaper than to find the different ones
        return None
    distinct = numbers.dropna().unique()
    if len(distinct) < MIN_COMPACT:
        return None
    texts = [f"{number:.15g}" for number in distinct.tolist()]
    moments = _moments(texts, lambda text: read_date(f"{text[:4]}-{text[4:6]}-{text[6:]}"))
    return _mapped(numbers, distinct.tolist(), moments) if moments else None


def unread_dates(texts: pd.Series) -> tuple[str, str]:
    """What is lost of a column of texts that look like dates but aren't read as dates, and what to do; both empty if
    they don't."""
    distinct = texts.dropna().unique().tolist()
    others = [text for text in distinct if not _LIKE_A_DATE.fullmatch(text.strip())]
    if len(others) > (1 - DATED_SHARE) * len(distinct):
        return "", ""
    gap = f"--missing '{others[0]}', or " if len(others) == 1 else ""
    return "the order of its dates", f"{gap}write them as 2024-01-31"


def _mapped(column: pd.Series, distinct: list[Any], moments: list[datetime]) -> pd.Series:
    moment_of = dict(zip(distinct, np.array(moments, "datetime64[us]"), strict=True))
    return column.map(moment_of).astype("datetime64[us]")
