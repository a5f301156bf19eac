"""The journal of a model: which version became live when, by whom, in place of which, and why. It only grows.

Knows its form, not where it is kept: one text a move, each under a key of its own, so that none is ever rewritten.
"""

import contextlib
import getpass
import json
import platform
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from pydantic import TypeAdapter, ValidationError

from tabserve.model.versions import Deployment

PREFIX = "journal."
"""What the keys begin with."""

MAX_WHY = 500
"""Characters of a reason that are kept; a database takes 5,000 for the whole entry."""

NOTICED = "someone in MLflow"
"""Who moved an alias without writing it down."""


_MOVE = TypeAdapter(Deployment)


def read(entries: Mapping[str, str]) -> list[Deployment]:
    """The moves in their order, from texts by key. What isn't an entry is passed over, and so is one that was cut, and
    one that was noticed although it is written down: who shares only a database with others may write while they do."""
    found = []
    for key, text in entries.items():
        if key.startswith(PREFIX):
            with contextlib.suppress(ValidationError):
                found.append((key, _MOVE.validate_json(text, strict=True)))
    moves: list[Deployment] = []
    for _, move in sorted(found, key=lambda entry: (entry[1].number, entry[1].who == NOTICED, entry[0])):
        if move.who != NOTICED or last_to(moves, move.alias) != move.to:
            moves.append(move)
    return moves


def entry(move: Deployment) -> tuple[str, str]:
    """The key and the text of a move. Two that are written at once get the same number, and still two keys."""
    return f"{PREFIX}{move.number:06}.{secrets.token_hex(4)}", json.dumps(asdict(move), ensure_ascii=False)


def next_move(
    moves: Sequence[Deployment], alias: str, to: str | None, who: str, why: str, *, rollback: bool = False
) -> Deployment:
    """The move that comes after these, from where they left the alias."""
    return Deployment(
        number=moves[-1].number + 1 if moves else 1,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        who=who,
        alias=alias,
        origin=last_to(moves, alias),
        to=to,
        why=" ".join(why.split())[:MAX_WHY],
        rollback=rollback,
    )


def unwritten(moves: Sequence[Deployment], alias: str, to: str | None) -> Deployment | None:
    """The move that nobody wrote down, if the alias isn't where the journal says."""
    if last_to(moves, alias) == to:
        return None
    return next_move(moves, alias, to, NOTICED, f"not written down; noticed by {whoami()}")


def last_to(moves: Sequence[Deployment], alias: str) -> str | None:
    """Where the journal says that the alias is."""
    return next((move.to for move in reversed(moves) if move.alias == alias), None)


def previous(moves: Sequence[Deployment], alias: str) -> list[str]:
    """The versions that the alias had before its present one, the latest first: where a rollback goes, to the first of
    them that is still there. A rollback takes back the moves since, so that a second one goes further back."""
    stack: list[str] = []
    for move in moves:
        if move.alias != alias or move.to is None or move.to in stack[-1:]:
            continue
        if move.rollback and move.to in stack:
            while stack[-1] != move.to:
                stack.pop()
        else:
            stack.append(move.to)
    now = last_to(moves, alias)
    return [version for version in reversed(stack) if version != now]


def whoami() -> str:
    """`user@machine`. A container may have no name for its user."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{platform.node() or 'unknown'}"
