"""The journal of a model: which alias moved from which version to which, when, by whom, and why. It only grows.

Knows the form of the entries, not where they are stored: each deployment is one text under its own key, so no entry is
ever rewritten.
"""

import contextlib
import getpass
import json
import platform
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime

from pydantic import TypeAdapter, ValidationError

from tabserve.model.versions import BY_HAND, Deployment

PREFIX = "journal."
"""The keys of all entries start with it."""

MAX_WHY = 500
"""Longest reason, in characters. A database stores at most 5,000 for a whole entry."""

_DEPLOYMENT = TypeAdapter(Deployment)


def read(entries: Mapping[str, str]) -> list[Deployment]:
    """The deployments in their order, from texts by key. Other keys, and texts that aren't entries, are skipped.

    Machines that share a database, but no `artifacts`, have no common lock. So one may record a move by hand that the
    other, which made it, records as well, or two may record the same one: each move is returned once.
    """
    parsed = []
    for key, text in entries.items():
        if key.startswith(PREFIX):
            with contextlib.suppress(ValidationError):
                parsed.append((key, _DEPLOYMENT.validate_json(text, strict=True)))
    deployments: list[Deployment] = []
    for _, deployment in sorted(parsed, key=lambda item: (item[1].number, item[1].who == BY_HAND, item[0])):
        if deployment.who != BY_HAND or last_target(deployments, deployment.alias) != deployment.to:
            deployments.append(deployment)
    return deployments


def entry(deployment: Deployment) -> tuple[str, str]:
    """The key and the text of a deployment. Two that are written at once have the same number, but different keys."""
    content = asdict(deployment)
    del content["recorded"]  # what is in the journal is recorded
    return f"{PREFIX}{deployment.number:06}.{secrets.token_hex(4)}", json.dumps(content, ensure_ascii=False)


def next_deployment(
    deployments: Sequence[Deployment], alias: str, to: str | None, who: str, why: str, *, rollback: bool = False
) -> Deployment:
    """The deployment that follows these; it starts where they left the alias."""
    return Deployment(
        number=deployments[-1].number + 1 if deployments else 1,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        who=who,
        alias=alias,
        origin=last_target(deployments, alias),
        to=to,
        why=" ".join(why.split())[:MAX_WHY],
        rollback=rollback,
    )


def unrecorded(deployments: Sequence[Deployment], alias: str, to: str | None) -> Deployment | None:
    """The move that the journal lacks if the alias is on `to`; None if the journal says so too."""
    if last_target(deployments, alias) == to:
        return None
    why = "moved by hand in MLflow, in one move or several; the next command that writes the journal records it"
    return replace(next_deployment(deployments, alias, to, BY_HAND, why), recorded=False)


def by_hand(move: Deployment, since: str | None) -> Deployment:
    """The entry for an unrecorded move. `since`: when the last entry was written. All moves by hand since then become
    this one entry, because nobody knows the versions between."""
    period = f"between {since} and" if since else "before"
    why = f"moved by hand in MLflow {period} {move.when}, written down by {whoami()}"
    return replace(move, why=why, recorded=True)


def last_target(deployments: Sequence[Deployment], alias: str) -> str | None:
    """The version that the alias is on, by the journal."""
    return next((deployment.to for deployment in reversed(deployments) if deployment.alias == alias), None)


def previous(deployments: Sequence[Deployment], alias: str) -> list[str]:
    """The versions that the alias was on before its present one, the latest first. A rollback goes to the first of them
    that still exists, and takes back the deployments since, so that a second rollback goes further back."""
    stack: list[str] = []
    for deployment in deployments:
        if deployment.alias != alias or deployment.to is None or deployment.to in stack[-1:]:
            continue
        if deployment.rollback and deployment.to in stack:
            while stack[-1] != deployment.to:
                stack.pop()
        else:
            stack.append(deployment.to)
    present = last_target(deployments, alias)
    return [version for version in reversed(stack) if version != present]


def whoami() -> str:
    """`user@machine`. In a container the user may have no name."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{platform.node() or 'unknown'}"
