"""Versions of a model as a registry knows them, and the deployments that moved an alias from one to another."""

from dataclasses import dataclass

BY_HAND = "someone in MLflow"
"""`Deployment.who` of an alias that was moved with MLflow's own tools instead of this project's commands."""


@dataclass(frozen=True)
class RegisteredVersion:
    """A release as a registry knows it.

    Attributes:
        model_version: the name of the release, like `20241201_143022`.
        registry_version: the registry's number: 1, 2, 3 …
        run_id: the MLflow run that made it.
        checksum: SHA-256 of the release's manifest when it was registered.
    """

    model_version: str
    registry_version: str
    run_id: str
    checksum: str


@dataclass(frozen=True)
class Deployment:
    """An alias moved from one version to another: an entry of the journal, or one that the journal lacks yet.

    Attributes:
        number: 1, 2, 3 … in the order of writing. The time is no order: a clock may go back.
        when: ISO 8601, UTC: when it was written or, if it isn't recorded, when it was first seen.
        who: `user@machine`, or `BY_HAND`.
        alias: the alias that moved.
        origin, to: numbers in the registry; None is no version.
        why: the reason, in words.
        rollback: whether it undid an earlier deployment.
        recorded: False if the alias was moved by hand and no command has written that into the journal yet.
    """

    number: int
    when: str
    who: str
    alias: str
    origin: str | None
    to: str | None
    why: str
    rollback: bool = False
    recorded: bool = True
