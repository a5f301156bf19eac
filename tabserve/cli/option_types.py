"""The types of the values of options: a text in, a value out, or an `argparse.ArgumentTypeError` that says what is
possible."""

import argparse
import math
from collections.abc import Callable

from tabserve.training import CRITERIA, LOSSES, THRESHOLD_METRICS


def whole_number(lowest: int, highest: int = 10**6) -> Callable[[str], int]:
    def parse_number(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {lowest} to {highest}")
        return int(text)

    return parse_number


def share(text: str) -> float:
    value = _number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share between 0 and 1")
    return value


def positive(text: str) -> float:
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def threshold(text: str) -> float | str:
    if text in THRESHOLD_METRICS:
        return text
    try:
        return share(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not between 0 and 1, nor {', '.join(THRESHOLD_METRICS)}"
        ) from error


def rows_or_share(text: str) -> float:
    value = _number(text)
    if not (0 < value < 1 or (1 <= value <= 10**6 and value == int(value))):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of rows, or a share between 0 and 1")
    return value if value < 1 else int(value)


def max_features(text: str) -> str | float:
    if text in ("sqrt", "log2"):
        return text
    if text in ("1", "1.0"):
        return 1.0
    try:
        return share(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not sqrt, log2, 1, or a share between 0 and 1") from error


def criterion(text: str) -> str:
    names = [name for own in CRITERIA.values() for name in own]
    if text not in names:
        raise argparse.ArgumentTypeError(f"{text!r} is not {', '.join(names[:-1])} or {names[-1]}")
    return text


def loss(text: str) -> str:
    if text not in LOSSES:
        raise argparse.ArgumentTypeError(f"{text!r} is not {', '.join(LOSSES[:-1])} or {LOSSES[-1]}")
    return text


def _number(text: str) -> float:
    """The number, or NaN, which no range contains."""
    try:
        return float(text)
    except ValueError:
        return math.nan
