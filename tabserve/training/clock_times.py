"""Texts that are times of a clock: times of day, and durations of hours and minutes."""

import re

import pandas as pd

CLOCK = r"(?P<hour>\d{1,4}):(?P<minute>\d\d)(?::(?P<second>\d\d(?:\.\d{1,6})?))?(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?"
"""A time as a regular expression."""

_TIME = re.compile(CLOCK, re.ASCII)


def read_clock_times(texts: pd.Series) -> tuple[pd.Series, str] | None:
    """A column of texts such as `14:30`, `2:30:15 PM` or `36:15` as seconds, float64, since midnight if they are times
    of day; and one of the texts with its number. None if a text is no time."""
    distinct = texts.dropna().unique().tolist()
    try:
        seconds = [_seconds(text.strip()) for text in distinct]
    except ValueError:
        return None
    if not distinct:
        return None
    numbers = texts.map(dict(zip(distinct, seconds, strict=True))).astype("float64")
    return numbers, f"{distinct[0]} is {seconds[0]:.15g}"


def _seconds(text: str) -> float:
    match = _TIME.fullmatch(text)
    if not match:
        raise ValueError("it is no time")
    minute, second = int(match["minute"]), float(match["second"] or 0)
    if minute >= 60 or second >= 60:
        raise ValueError("an hour has 60 minutes")
    return 3600 * hour_of(match) + 60 * minute + second


def hour_of(match: re.Match[str]) -> int:
    """The hour of a match of `CLOCK`, or 0.

    Raises:
        ValueError: it is no hour of a clock of twelve, and before or after noon.
    """
    hour = int(match["hour"] or 0)
    if not match["half"]:
        return hour
    if not 1 <= hour <= 12:
        raise ValueError("no hour of a clock of twelve")
    return hour % 12 + (12 if match["half"] in "pP" else 0)
