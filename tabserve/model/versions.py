"""Versions of a model as a registry knows them, and the deployments that made them live."""

from dataclasses import dataclass

UNRECORDED = "someone in MLflow, not in the journal yet"
"""Who moved an alias by hand, as long as no command has written that into the journal."""


@dataclass(frozen=True)
class RegisteredVersion:
    """A release as a registry knows it.

    Attributes:
        model_version: what people say, like `20241201_143022`.
        registry_version: what the registry counts: 1, 2, 3 …
        run_id: the run that made it.
        checksum: of the release, as it was when it was registered.
    """

    model_version: str
    registry_version: str
    run_id: str
    checksum: str


@dataclass(frozen=True)
class Deployment:
    """An alias went from one version to another.

    Attributes:
        number: 1, 2, 3 … in the order in which they were written; the clock may go back.
        when: ISO 8601, UTC.
        who: `user@machine`; someone in MLflow, if it was done by hand; `UNRECORDED`, if the journal lacks it.
        rollback: whether it undid another one.
        alias: which.
        origin, to: versions as the registry counts them; None is none.
        why: in words.
    """

    number: int
    when: str
    who: str
    alias: str
    origin: str | None
    to: str | None
    why: str
    rollback: bool = False

    @property
    def recorded(self) -> bool:
        """Whether it is in the journal."""
        return self.who != UNRECORDED
