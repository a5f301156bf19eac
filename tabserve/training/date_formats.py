"""Texts that are dates: ISO, day first or month first."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar

import numpy as np
import pandas as pd

from tabserve.model.dates import read_date

T = TypeVar("T")
DayOrder = Literal["dmy", "mdy"]

_TIME = r"(?:[T ]+(\d{1,2}):(\d\d)(?::(\d\d))?(?: ?([AaPp])\.?[Mm]\.?)?)?"
_WRITTEN = re.compile(rf"(\d{{1,2}})([/.-])(\d{{1,2}})\2(\d{{4}}){_TIME}", re.ASCII)
_YEAR_FIRST = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})(.*)", re.ASCII)


@dataclass(frozen=True)
class TextDates:
    """A column of texts that are dates.

    Attributes:
        values: datetime64[us], in UTC where a text has a zone; None if the order of day and month isn't known.
        order: how they are written.
        have_zones: whether a text has a zone other than UTC.
    """

    values: pd.Series | None
    order: Literal["iso"] | DayOrder | None
    have_zones: bool = False


def read_text_dates(texts: pd.Series, order: DayOrder | None) -> TextDates | None:
    """The dates of a column of texts; None if a text is none.

    Where the year stands last, a first number above 12 is a day in all of them, and so is a second one. If there is
    neither, `order` decides.
    """
    distinct = texts.dropna().unique().tolist()
    if not distinct:
        return None
    iso = _moments(distinct, _read_iso)
    if iso:
        zones = any(re.search(r"[+-](?!00:?00)\d\d:?\d\d$", text) for text in distinct if ":" in text)
        return TextDates(_mapped(texts, distinct, iso), "iso", zones)
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
    hour = int(match[5] or 0)
    if match[8]:
        if not 1 <= hour <= 12:
            raise ValueError("no hour of a clock of twelve")
        hour = hour % 12 + (12 if match[8] in "pP" else 0)
    return read_date(f"{match[4]}-{month:0>2}-{day:0>2}T{hour:02}:{match[6] or '00'}:{match[7] or '00'}")


def _mapped(texts: pd.Series, distinct: list[str], moments: list[datetime]) -> pd.Series:
    moment_of = dict(zip(distinct, np.array(moments, "datetime64[us]"), strict=True))
    return texts.map(moment_of).astype("datetime64[us]")
