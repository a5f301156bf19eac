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
        self._last_seen: dict[str, str | None] = {}
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
        self._report_moves_by_hand(deployments)
        self.deployments, self._read_for, self._problem = deployments, aliases, None

    def _report_moves_by_hand(self, deployments: tuple[Deployment, ...]) -> None:
        """Logs where an alias is now, and where it was at the last look, or at the first look by the journal. It may
        have been elsewhere in between: nobody records that."""
        for alias, newest in {one.alias: one for one in deployments}.items():
            last_seen = self._last_seen.get(alias, newest.origin if not newest.recorded else newest.to)
            self._last_seen[alias] = newest.to
            is_by_command = newest.recorded and newest not in self.deployments
            if newest.to == last_seen or is_by_command:
                continue
            effect = "the journal lacks it; the next training or promote_model.py records it"
            if newest.recorded:
                effect = "it is where the journal has it"
            log.warning(
                "alias moved by hand", extra={"alias": alias, "last_seen": last_seen, "to": newest.to, "effect": effect}
            )


def _unrecorded(deployments: tuple[Deployment, ...]) -> set[tuple[str, str | None, str | None]]:
    """Alias, origin and target of the deployments that the journal lacks."""
    return {(one.alias, one.origin, one.to) for one in deployments if not one.recorded}
