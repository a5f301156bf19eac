"""What a column of a table is: numbers, booleans, dates, categories or texts; and whether a model can learn from it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas.api.types import (
    infer_dtype,
    is_bool_dtype,
    is_datetime64_any_dtype,
    is_float_dtype,
    is_numeric_dtype,
    is_timedelta64_dtype,
)

from tabserve.model.boolean import is_true
from tabserve.training.clock_times import read_clock_times
from tabserve.training.date_formats import DayOrder, read_compact_dates, read_text_dates, unread_dates
from tabserve.training.number_formats import DecimalSign, DisguisedNumbers, is_code, read_disguised

MAX_CATEGORIES = 100_000
"""The most categories of a feature. A release names each, in at most 16 MB."""

MAX_TEXT = 200
"""The longest category, class and name of a column, in characters."""

NUMERIC_SHARE = 0.5
"""A column of texts counts as numeric if at least this share of them are numbers."""

FEW, REPEATED_SHARE = 20, 0.2
"""A column of texts counts as free text if it has more than `FEW` distinct texts, and less than this share of its rows
have a text that another row has, too."""

MIN_GAPS = 10
"""A column that holds one value or none is a feature if it has at least so many rows of each."""

TEXT_REASONS = ("free text", "an identifier: different in each row")
"""How the reasons begin for which a column of texts is useless."""

LARGEST_EXACT = 2**53
"""Up to this size, different whole numbers are different as floating-point numbers."""

TOO_LARGE = "numbers too large to be told apart as floating-point numbers"
"""How the loss begins of a column in which different values become the same number."""

UNDECIDED_DATES = "dates: day or month first? no day is above 12"

Kind = Literal["number", "duration", "boolean", "date", "code", "text"]


@dataclass(frozen=True)
class ReadColumn:
    """A column of a table, and what it was read as.

    Attributes:
        values: float64 for numbers and durations (in seconds), `boolean`, datetime64[us] in UTC, or str.
        texts: how a table of texts writes its booleans.
        how: how the texts became values, with an example; empty if they stand for themselves.
        loss: what was lost by that, and the option that undoes it; both empty if nothing was.
    """

    values: pd.Series
    kind: Kind
    texts: tuple[str, ...] = ()
    how: str = ""
    loss: tuple[str, str] = ("", "")

    @property
    def is_undecided_date(self) -> bool:
        """Whether it holds dates of which nobody knows whether day or month comes first. `values` are their texts."""
        return self.kind == "date" and not is_datetime64_any_dtype(self.values.dtype)


def as_text(column: pd.Series) -> pd.Series:
    """The column as categories, as the table writes them."""
    if is_float_dtype(column.dtype):
        numbers = column.dropna()
        # pandas reads whole numbers as 1.0 if some are missing
        if (numbers == numbers.round()).all() and (numbers.abs() < 2**63).all():
            column = column.astype("Int64")
    return column.astype("str")


def as_inferred(column: pd.Series, decimal: DecimalSign | None = None) -> pd.Series:
    """The column as float64 if every value is a number, else as texts. `decimal` as in `read_column`."""
    read = read_column(column, decimal=decimal)
    return read.values if read.kind in ("number", "duration") else column.astype("str")


def read_column(column: pd.Series, dates: DayOrder | None = None, decimal: DecimalSign | None = None) -> ReadColumn:
    """Reads a column. `dates` and `decimal` decide what its values leave open.

    Raises:
        ValueError: it holds dates outside of the years 1 to 9999.
    """
    if is_bool_dtype(column.dtype):
        return ReadColumn(column.astype("boolean"), "boolean")
    if is_numeric_dtype(column.dtype):
        return _plain_numbers(column, column.astype("float64"))
    if is_timedelta64_dtype(column.dtype):
        return ReadColumn(_seconds(column), "duration", how="in seconds")
    if is_datetime64_any_dtype(column.dtype):
        return _dates_of_moments(column)
    if column.dtype == object and column.notna().any():
        match infer_dtype(column, skipna=True):
            case "boolean":
                return ReadColumn(column.astype("boolean"), "boolean")
            case "decimal":
                return _plain_numbers(column, column.map(float, na_action="ignore").astype("float64"))
            case "date" | "datetime":
                return _dates_of_moments(pd.to_datetime(column.map(_as_utc), errors="raise"))
    return _read_texts(column.astype("str"), dates, decimal)


def read_feature(column: pd.Series, dates: DayOrder | None = None, decimal: DecimalSign | None = None) -> ReadColumn:
    """`read_column` of a column that is not the target: it may hold dates such as 20240131."""
    read = read_column(column, dates, decimal)
    if read.kind != "number" or read.how or (days := read_compact_dates(read.values)) is None:
        return read
    first = days.dropna().iloc[0]
    return ReadColumn(days, "date", how=f"{first:%Y%m%d} is {first:%Y-%m-%d}")


def _read_texts(texts: pd.Series, dates: DayOrder | None, decimal: DecimalSign | None) -> ReadColumn:
    present = texts.dropna()
    if not len(present):
        return ReadColumn(texts, "text")
    if is_code(present):
        return ReadColumn(texts, "code", how="with leading zeros")
    numbers = pd.to_numeric(texts, errors="coerce").astype("float64")
    if numbers.notna().equals(texts.notna()):
        if decimal != "," or not (disguised := read_disguised(texts, decimal)) or not disguised.is_ambiguous:
            return _plain_numbers(texts, numbers)
        return _numbers(disguised)
    if are_booleans(present):
        truths = texts.map(is_true, na_action="ignore").astype("boolean")
        return ReadColumn(truths, "boolean", tuple(sorted(present.unique().tolist())))
    if found := read_text_dates(texts, dates):
        if found.values is None:
            return ReadColumn(texts, "date")
        how = "" if found.order == "any" else "day first" if found.order == "dmy" else "month first"
        zones = ("its zones: times count in UTC", f"--categorical '{texts.name}'")
        return ReadColumn(found.values, "date", how=how, loss=zones if found.have_zones else ("", ""))
    if times := read_clock_times(texts):
        seconds, example = times
        return ReadColumn(seconds, "duration", how=f"in seconds, {example}")
    if disguised := read_disguised(texts, decimal):
        return _numbers(disguised)
    return ReadColumn(texts, "text", loss=unread_dates(present))


def _plain_numbers(column: pd.Series, numbers: pd.Series) -> ReadColumn:
    """A column that holds these numbers."""
    loss = ("", "")
    if float(numbers.abs().max()) > LARGEST_EXACT and (left := numbers.nunique()) < (different := column.nunique()):
        loss = (f"{TOO_LARGE}: {different} different values become {left}", f"--categorical '{column.name}'")
    return ReadColumn(numbers, "number", loss=loss)


def _numbers(disguised: DisguisedNumbers) -> ReadColumn:
    text, number = disguised.example
    loss = ("", "")
    if disguised.is_ambiguous:
        other = "," if disguised.decimal == "." else "."
        loss = (f"the fraction, if {other} is the decimal sign", f"--decimal {other}")
    return ReadColumn(disguised.values, "number", how=f"{text} is {number:.15g}", loss=loss)


def are_booleans(texts: pd.Series) -> bool:
    """Whether all texts are `true` or `false`, in capitals or not."""
    distinct = texts.unique().tolist()
    return len(distinct) <= FEW and {text.lower() for text in distinct} <= {"true", "false"}


def _dates_of_moments(column: pd.Series) -> ReadColumn:
    """A column of pandas' moments, with or without a zone."""
    zone = getattr(column.dtype, "tz", None)
    if zone is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    values = column.astype("datetime64[us]")
    if not values.dropna().dt.year.between(1, 9999).all():
        raise ValueError("it holds dates outside of the years 1 to 9999")
    is_local = zone is not None and str(zone) != "UTC"
    zones = (f"its zone, {zone}: times count in UTC", f"--categorical '{column.name}'")
    return ReadColumn(values, "date", loss=zones if is_local else ("", ""))


def _as_utc(moment: Any) -> Any:
    """A date or a moment as a moment in UTC without a zone; anything else as it is."""
    if isinstance(moment, datetime) and moment.tzinfo is not None:
        return moment.astimezone(UTC).replace(tzinfo=None)
    return moment


def _seconds(column: pd.Series) -> pd.Series:
    """Durations in seconds, NaN where one is missing."""
    durations = column.to_numpy()
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[np.datetime_data(durations.dtype)[0]]
    counts = durations.astype(np.int64).astype(np.float64) / per_second
    return pd.Series(counts, column.index, name=column.name).mask(column.isna())


def why_useless(column: ReadColumn) -> str | None:
    """Why a model can learn nothing from a column; None if it can, or if the column has a problem that is reported
    otherwise."""
    values = column.values
    present = values.dropna()
    distinct = present.nunique()
    gaps = len(values) - len(present)
    if distinct == 1 and column.loss[0].startswith(TOO_LARGE):
        return column.loss[0]
    if distinct == 1 and min(gaps, len(present)) < MIN_GAPS:
        only = present.tolist()[0]
        shown = repr(only) if isinstance(only, str | float) else str(only)
        return f"a constant: always {shown}" + f", or missing in {gaps} rows" * (gaps > 0)
    if column.is_undecided_date:
        return UNDECIDED_DATES
    if column.kind in ("boolean", "date"):
        return None
    if is_numeric_dtype(values.dtype):
        in_order = len(present) > FEW and len(present) == len(values) and bool((present.diff().iloc[1:] == 1).all())
        return "an identifier: it numbers the rows" if in_order else None
    if not len(present) or is_mixed(column):
        return None
    if distinct == len(present) and distinct > FEW:
        return TEXT_REASONS[1]
    repeated = present.duplicated(keep=False).mean()
    if (distinct > FEW and repeated < REPEATED_SHARE) or distinct > MAX_CATEGORIES:
        return f"free text: {distinct} different texts in {len(present)} rows"
    if present.str.len().max() > MAX_TEXT:
        return f"free text: up to {present.str.len().max()} characters"
    return None


def is_mixed(column: ReadColumn) -> bool:
    """Whether it mixes numbers with texts, most likely by mistake."""
    return column.kind == "text" and share_of_numbers(column.values.dropna()) >= NUMERIC_SHARE


def share_of_numbers(texts: pd.Series) -> float:
    return float(pd.to_numeric(texts, errors="coerce").notna().mean())


def has_fractions(texts: pd.Series) -> bool:
    """Whether all texts are numbers, and at least one is not whole."""
    numbers = pd.to_numeric(texts, errors="coerce")
    return bool(numbers.notna().all() and (numbers != numbers.round()).any())
