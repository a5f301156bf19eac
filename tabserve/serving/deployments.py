"""The journal of deployments as the service shows it. Reports an alias that was moved by hand; never writes."""

import logging
import threading

from tabserve.errors import TabserveError
from tabserve.model import Deployment, RegisteredVersion
from tabserve.serving.loader import Source

log = logging.getLogger("tabserve.serving")

RECORD_SECONDS = 1.0
"""A command moves the alias first, and has recorded that after so many seconds. What isn't recorded then was done by
hand."""


class DeploymentReader:
    """Reads the journal when it must have grown. One thread updates it, any thread may read the deployments.

    Attributes:
        deployments: as they were read last, the oldest first; last those by hand that nobody has recorded yet.
    """

    def __init__(self, source: Source, stopping: threading.Event) -> None:
        """`stopping`: set when the service stops; it ends every wait."""
        self._source, self._stopping = source, stopping
        self._read_for: tuple[str, RegisteredVersion | None] | None = None
        self._problem: str | None = None
        self.deployments: tuple[Deployment, ...] = ()

    def update(self, champion: RegisteredVersion, challenger: RegisteredVersion | None) -> None:
        """Reads the journal if an alias has moved, or if a deployment isn't recorded yet. Raises nothing: the service
        works without the journal, and the next call tries again."""
        aliases = champion.registry_version, challenger
        if aliases == self._read_for and not _unrecorded(self.deployments):
            return
        try:
            deployments = tuple(self._source.deployments())
            if _unrecorded(deployments) - _unrecorded(self.deployments):
                self._stopping.wait(RECORD_SECONDS)
                deployments = tuple(self._source.deployments())
        except Exception as error:
            if str(error) != self._problem:  # logged once, however long it lasts
                effect = "predictions go on; /model/info shows the journal as it was read last"
                is_unexpected = not isinstance(error, TabserveError)
                log.warning("no journal", extra={"reason": str(error), "effect": effect}, exc_info=is_unexpected)
            self._problem = str(error)
            return
        for alias, origin, to in sorted(_unrecorded(deployments) - _unrecorded(self.deployments), key=str):
            log.warning(
                "alias moved by hand",
                extra={
                    "alias": alias,
                    "from": origin,
                    "to": to,
                    "effect": "the journal lacks it; the next training or promote_model.py records it",
                },
            )
        self.deployments, self._read_for, self._problem = deployments, aliases, None


def _unrecorded(deployments: tuple[Deployment, ...]) -> set[tuple[str, str | None, str | None]]:
    """Alias, origin and target of the deployments that the journal lacks."""
    return {(one.alias, one.origin, one.to) for one in deployments if not one.recorded}
