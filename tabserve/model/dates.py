"""Dates: ISO texts as moments, and moments as the numbers that a model takes.

Training and serving both use this module, so a date means the same to both.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat

from tabserve.model.arrays import Matrix

PartName = Literal["year", "month", "day", "weekday", "hour", "days"]

PARTS: tuple[PartName, ...] = ("year", "month", "day", "weekday", "hour", "days")
"""What a date can become, each a number: `weekday` is 1 on Mondays, `days` counts since the first date, with
fractions."""

GROWING: frozenset[PartName] = frozenset({"year", "days"})
"""Parts that leave the training range as time goes by. Nobody is warned of that."""

PATTERN = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?$"
"""The texts that callers may send, as a regular expression."""

_matches = re.compile(PATTERN, re.ASCII).fullmatch

DAY = timedelta(days=1)

MAX_NUMBER = 1e7
"""No part of a date is larger: it takes less than four million days from year 1 to year 9999."""


def read_date(text: str) -> datetime:
    """The moment of an ISO date, with or without a time, to the microsecond: in UTC if the text has a zone.

    Raises:
        ValueError: it is no such text, or no such day.
    """
    if not _matches(text) or text.endswith("\n"):
        raise ValueError("it is no ISO date")
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return moment
    try:
        return moment.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        raise ValueError("it is outside of the years 1 to 9999") from None


def is_date(text: str) -> bool:
    """Whether `read_date` reads the text."""
    try:
        read_date(text)
    except ValueError:
        return False
    return True


def iso_text(moment: datetime) -> str:
    """The shortest ISO text of a moment: a date alone if it is midnight."""
    return moment.isoformat().removesuffix("T00:00:00")


def date_numbers(moments: Sequence[datetime | None], parts: Sequence[PartName], first: datetime) -> Matrix:
    """The parts of each moment, shape (moments, parts). None becomes NaN."""
    numbers = [row_numbers(moment, parts, first) for moment in moments]
    return np.array(numbers, dtype=np.float64).reshape(len(numbers), len(parts))


def row_numbers(moment: datetime | None, parts: Sequence[PartName], first: datetime) -> list[float]:
    """The parts of one moment. None becomes NaN."""
    if moment is None:
        return [float("nan")] * len(parts)
    return [_number(moment, part, first) for part in parts]


def _number(moment: datetime, part: PartName, first: datetime) -> float:
    match part:
        case "days":
            return (moment - first) / DAY
        case "weekday":
            return float(moment.isoweekday())
    return float(getattr(moment, part))


def part_column(name: str, part: PartName) -> str:
    """The name of the column with a part of the date `name`."""
    return f"{name}.{part}"


@dataclass(frozen=True)
class DatePart:
    """A part of a date, as the model takes it.

    Attributes:
        name: of the column, as `part_column` gives it.
        missing: how many training rows lacked the date.
        minimum, maximum: the range seen in training.
    """

    name: str
    part: PartName
    missing: int
    minimum: float
    maximum: float

    kind = "date part"
    lowest, highest = -MAX_NUMBER, MAX_NUMBER

    @property
    def training_range(self) -> tuple[float, float]:
        """The range outside of which the reply warns."""
        return (self.lowest, self.highest) if self.part in GROWING else (self.minimum, self.maximum)

    def warning(self, value: float) -> str:
        """The warning for a value outside `training_range`."""
        return f"{self.part} {value:g} is outside the training range {self.minimum:g} to {self.maximum:g}"


def _checked(text: str) -> str:
    read_date(text)
    return text


IsoDate = Annotated[str, AfterValidator(_checked)]


class PartRange(BaseModel):
    """A part of a date, and its range in training."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    part: PartName
    minimum: FiniteFloat
    maximum: FiniteFloat


class Date(BaseModel):
    """A feature of dates, which callers send as ISO texts. The model takes its parts, each as a number.

    Attributes:
        name: as callers write it.
        missing: how many training rows lacked it. Unless it is 0, callers may leave it out.
        first, last: the range seen in training, as ISO texts.
        origin: the moment from which `days` are counted, as an ISO text.
        parts: the parts that vary in the table.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["date"] = "date"
    name: str = Field(min_length=1, max_length=200)
    missing: int = Field(default=0, ge=0)
    first: IsoDate
    last: IsoDate
    origin: IsoDate
    parts: tuple[PartRange, ...] = Field(min_length=1)

    @cached_property
    def model_features(self) -> tuple[DatePart, ...]:
        return tuple(
            DatePart(part_column(self.name, one.part), one.part, self.missing, one.minimum, one.maximum)
            for one in self.parts
        )

    @cached_property
    def _origin(self) -> datetime:
        return read_date(self.origin)

    @cached_property
    def part_names(self) -> tuple[PartName, ...]:
        return tuple(one.part for one in self.parts)

    def numbers(self, text: str | None) -> list[float]:
        """A valid text as the model takes it."""
        return row_numbers(None if text is None else read_date(text), self.part_names, self._origin)

    def codes(self, texts: Sequence[Any]) -> Matrix:
        """Valid texts as the model takes them: shape (rows, parts)."""
        return self.moment_codes([None if text is None else read_date(text) for text in texts])

    def moment_codes(self, moments: Sequence[datetime | None]) -> Matrix:
        """The same for moments."""
        return date_numbers(moments, self.part_names, self._origin)
