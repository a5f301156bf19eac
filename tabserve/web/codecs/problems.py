"""Problems with a caller's input, as replies name them: bounded in number, and without the caller's values."""

from collections.abc import Mapping, Sequence
from typing import Any

MAX_PROBLEMS = 20
"""How many problems one reply names. A last entry says how many more there are."""

NEVER_MISSING = "It is missing, but no row of the training lacked it"

MAX_NAME = 64
"""A field name that the caller made up is cut to this many characters before it is repeated."""


def problem(kind: str, location: Sequence[str | int], message: str) -> dict[str, object]:
    """One problem: its kind, the path to the field, and what is wrong."""
    return {"type": kind, "loc": [_cut(part) for part in location], "msg": message}


def problems(errors: Sequence[Mapping[str, Any]], *, prefix: str = "body") -> list[dict[str, object]]:
    """pydantic's errors as at most `MAX_PROBLEMS` problems. `prefix` starts every location."""
    found = [
        problem(error["type"], (prefix, *error["loc"]) if prefix else error["loc"], error["msg"])
        for error in errors[:MAX_PROBLEMS]
    ]
    if len(errors) > MAX_PROBLEMS:
        found.append(problem("more", [prefix], f"and {len(errors) - MAX_PROBLEMS} more problems"))
    return found


def _cut(part: str | int) -> str | int:
    if isinstance(part, int) or len(part) <= MAX_NAME:
        return part
    return part[:MAX_NAME] + "…"
