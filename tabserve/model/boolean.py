"""Booleans: what callers send for them, and as what the model takes them."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from tabserve.model.arrays import Vector


def is_true(text: str) -> bool:
    """What a text for a boolean says. Raises ValueError if it is none."""
    match text.lower():
        case "true":
            return True
        case "false":
            return False
    raise ValueError("neither true nor false")


class Boolean(BaseModel):
    """A feature that is true or false. The model takes 1 and 0.

    Attributes:
        name: as callers write it.
        missing: how many training rows lacked it. Unless it is 0, callers may leave it out.
        trues, falses: how many training rows had each.
        texts: how the table writes them, if it is a table of texts. Callers may send these texts, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["boolean"] = "boolean"
    name: str = Field(min_length=1, max_length=200)
    missing: int = Field(default=0, ge=0)
    trues: int
    falses: int
    texts: tuple[str, ...] = ()

    minimum: ClassVar[float] = 0.0
    maximum: ClassVar[float] = 1.0
    lowest: ClassVar[float] = 0.0
    highest: ClassVar[float] = 1.0

    @field_validator("texts")
    @classmethod
    def _are_booleans(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            is_true(text)
        return texts

    def warning(self, value: float) -> str:
        """The warning for a value outside of the range; callers can't send one."""
        return f"{value:g} is neither true nor false"

    @cached_property
    def code_of(self) -> Mapping[bool | str | None, float]:
        """Value → code. None, which is a missing value, → NaN."""
        return {None: math.nan, False: 0.0, True: 1.0} | {text: float(is_true(text)) for text in self.texts}

    def codes(self, values: Sequence[Any]) -> Vector:
        """Valid values as the model takes them."""
        return np.array([self.code_of[value] for value in values], dtype=np.float64)
