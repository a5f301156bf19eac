"""What a valid body may still hold that no validator looks at: a key twice, a number of thousands of digits.

A quick count over the bytes says whether a body may hold any of these. Only then is it parsed once more.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from tabserve.errors import InvalidInputError
from tabserve.web.codecs.problems import problem

MAX_NUMBER = 64
"""Longest number, in characters. A double needs 17 digits, a point, a sign and an exponent."""

_NUMBERS_AS_ZEROS = bytes.maketrans(b"123456789.eE+-", b"0" * 14)
_LONG_RUN = b"0" * (MAX_NUMBER + 1)
_KEY = re.compile(rb'(?<!\\)"[ \t\r\n]*:')

_TOO_LONG = object()
"""Stands in place of a number that is longer than `MAX_NUMBER`."""


class Pairs(list[tuple[str, Any]]):
    """A JSON object as a list of its members, so that a key that occurs twice is there twice."""


def may_be_ambiguous(body: bytes, members: int) -> bool:
    """Whether a valid body may hold more than its `members` members, or a number longer than `MAX_NUMBER`.

    The values are numbers, texts or containers, so there are as many colons as members unless a key or a text contains
    a colon, a key occurs twice, or a key is not a feature.
    """
    return body.count(b":") != members or has_long_number(body)


def has_long_number(body: bytes) -> bool:
    """Whether a run of the characters that numbers are made of is longer than `MAX_NUMBER`."""
    return _LONG_RUN in body.translate(_NUMBERS_AS_ZEROS)


def count_keys(body: bytes) -> int:
    """How many members the objects of a body have; texts that look like a key count too."""
    return len(_KEY.findall(body))  # inside a text a quotation mark is escaped


def parse_pairs(body: bytes) -> Any:
    """The body with every object as `Pairs`."""

    def number(text: str) -> object:
        return float(text) if len(text) <= MAX_NUMBER else _TOO_LONG

    return json.loads(body, object_pairs_hook=Pairs, parse_int=number, parse_float=number)


def check_record(pairs: Pairs, features: Sequence[str], location: list[str | int]) -> None:
    """Refuses a key that isn't a feature, a number that is too long, and a key that occurs twice, because JSON doesn't
    say which value counts."""
    seen: set[str] = set()
    for key, value in pairs:
        if key not in features:
            raise InvalidInputError([problem("extra_forbidden", [*location, key], "Extra inputs are not permitted")])
        if key in seen:
            raise InvalidInputError([problem("duplicate_key", [*location, key], "This key occurs more than once")])
        if value is _TOO_LONG or (isinstance(value, list) and _TOO_LONG in value):
            message = f"A number has at most {MAX_NUMBER} characters"
            raise InvalidInputError([problem("number_too_long", [*location, key], message)])
        seen.add(key)


def only_value(pairs: Pairs, name: str) -> Any:
    """The value of the only member, which is called `name`. Refuses other members, and a second one of that name."""
    for key, _ in pairs:
        if key != name:
            raise InvalidInputError([problem("extra_forbidden", ["body", key], "Extra inputs are not permitted")])
    if len(pairs) > 1:
        raise InvalidInputError([problem("duplicate_key", ["body", name], "This key occurs more than once")])
    return pairs[0][1]
