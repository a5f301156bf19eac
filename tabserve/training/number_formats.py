"""Numbers in disguise: texts such as `$1,000`, `12 %`, `1.234,5` and `1 000`, read as the numbers they stand for."""

import re
from dataclasses import dataclass
from typing import Literal

import pandas as pd

DecimalSign = Literal[".", ","]

CURRENCIES = "$€£¥₹₩₽₺₫₴₪฿¢"
CODES = ("USD", "EUR", "GBP", "CHF", "JPY", "CNY", "INR", "SEK", "NOK", "DKK", "PLN", "CZK", "AUD", "CAD", "NZD", "BRL")
"""What may stand before or behind a number, besides `%`. In a column it is the same for all values."""

_UNIT = rf"(?:[{CURRENCIES}%]|{'|'.join(CODES)})"
_NUMBER = re.compile(rf"([-+]?) ?({_UNIT}?) ?([-+]?)(\d[\d.,' ]*|[.,]\d+) ?({_UNIT}?)", re.ASCII)
_SPACES_AND_SIGNS = str.maketrans("\u00a0\u2007\u2009\u202f\u2019\u2212", "    '-")
SIGNS: tuple[DecimalSign, ...] = (".", ",")

_DIGITS = {
    sign: re.compile(
        rf"\d*{re.escape(sign)}?\d+|\d+{re.escape(sign)}"
        rf"|[1-9]\d{{0,2}}([{group} '])\d{{3}}(?:\1\d{{3}})*(?:{re.escape(sign)}\d*)?"
    )
    for sign, group in zip(SIGNS, reversed(SIGNS), strict=True)
}
"""Decimal sign → digits without groups, or in groups of three with one sign between them."""


@dataclass(frozen=True)
class DisguisedNumbers:
    """A column of numbers in disguise.

    Attributes:
        values: float64, NaN where the column is missing.
        example: one of the texts, and its number.
        decimal: the decimal sign.
        is_ambiguous: whether the values could be read with the other decimal sign, too, as other numbers.
    """

    values: pd.Series
    example: tuple[str, float]
    decimal: DecimalSign
    is_ambiguous: bool


def read_disguised(texts: pd.Series, decimal: DecimalSign | None) -> DisguisedNumbers | None:
    """The numbers that a column of texts stands for; None if a text is no number, or their units differ.

    The decimal sign is the one with which all texts are numbers. If both are possible, it is `decimal`, or else the
    point: `1,234` is 1234.
    """
    distinct, parts = texts.dropna().unique().tolist(), []
    for text in distinct:
        match = _NUMBER.fullmatch(text.strip().translate(_SPACES_AND_SIGNS))
        if not match:
            return None
        parts.append(match.groups())
    if len({(before, after) for _, before, _, _, after in parts}) != 1:
        return None
    read = {sign: _numbers(parts, sign) for sign in SIGNS}
    possible = [sign for sign in SIGNS if read[sign]]
    if not possible:
        return None
    chosen = decimal if decimal in possible else possible[0]
    numbers = read[chosen]
    number_of = dict(zip(distinct, numbers, strict=True))
    longest = max(distinct, key=len)
    return DisguisedNumbers(
        values=texts.map(number_of).astype("float64"),
        example=(longest, number_of[longest]),
        decimal=chosen,
        is_ambiguous=len(possible) > 1 and read["."] != read[","],
    )


def _numbers(parts: list[tuple[str, ...]], decimal: DecimalSign) -> list[float]:
    """The number of each text, or an empty list if one is none with this decimal sign."""
    numbers = []
    for sign, _, inner_sign, written, _ in parts:
        digits = written.strip()
        if (sign and inner_sign) or not _DIGITS[decimal].fullmatch(digits):
            return []
        kept = "".join(character for character in digits if character.isdigit() or character == decimal)
        numbers.append(float(f"{sign}{inner_sign}{kept.replace(decimal, '.')}"))
    return numbers


def is_code(texts: pd.Series) -> bool:
    """Whether texts are codes of digits, such as `01234`: a number would lose its leading zero."""
    if not texts.str.startswith("0").any():
        return False
    return bool(texts.str.fullmatch(r"\d+").all() and texts.str.fullmatch(r"0\d+").any())
