"""Follows the challenger: loads the version that the registry marks, and compares it with the champion."""

import logging

from tabserve.errors import TabserveError
from tabserve.model import Predictor, RegisteredVersion
from tabserve.monitoring import Metrics
from tabserve.serving.loader import Loader, Source
from tabserve.serving.shadow import Shadow
from tabserve.serving.state import Challenger, LoadedModel

log = logging.getLogger("tabserve.serving")


class ChallengerFollower:
    """Keeps the challenger and its shadow up to date. One thread polls; any thread may drop the challenger.

    Attributes:
        challenger: the version that is marked, as the last poll found it; None if none is.
        shadow: compares it with the champion; None if it can't be compared.
    """

    def __init__(self, source: Source, metrics: Metrics, poll_seconds: float) -> None:
        self._source, self._metrics = source, metrics
        self._loader = Loader(source, poll_seconds)
        self._champion: Predictor | None = None
        self._dropped: tuple[str, str] | None = None
        self.challenger: Challenger | None = None
        self.shadow: Shadow | None = None

    def poll(self, champion: LoadedModel) -> None:
        """Asks the registry once for the challenger of this champion. Raises nothing: a failure becomes the reason why
        nothing is compared."""
        try:
            self._set(champion.predictor, self._marked(champion, self._source.challenger()))
        except Exception as error:
            is_logged = self.challenger is not None and self.challenger.reason == str(error)
            if not isinstance(error, TabserveError) and not is_logged:
                log.exception("following the challenger failed", extra={"effect": "the champion is served as before"})
            self._set(champion.predictor, Challenger(None, reason=str(error)))

    def drop(self, model: LoadedModel, reason: str) -> None:
        """From the next poll on, this challenger is neither loaded nor compared, until another version is marked. This
        doesn't block."""
        self._dropped = model.predictor.release.checksum, reason

    def close(self) -> None:
        if self.shadow:
            self.shadow.close()

    def _marked(self, champion: LoadedModel, version: RegisteredVersion | None) -> Challenger | None:
        """The challenger that this version is."""
        if version is None:
            return None
        known = self.challenger if self.challenger and self.challenger.version == version else None
        if version.checksum == champion.predictor.release.checksum:
            return Challenger(version, reason="it is the champion itself")
        if self._dropped and self._dropped[0] == version.checksum:
            return Challenger(version, reason=self._dropped[1])
        if known and known.comparison and self._champion is champion.predictor:
            return known
        try:
            model = (known and known.model) or self._loader.load(version)
        except TabserveError as error:
            return Challenger(version, reason=str(error))
        schema = champion.predictor.schema
        if reason := schema.incompatibility(model.predictor.schema):
            return Challenger(version, model, reason=reason)
        versions = champion.predictor.model_version, model.predictor.model_version
        return Challenger(version, model, self._metrics.comparison(*versions, schema.task))

    def _set(self, champion: Predictor, challenger: Challenger | None) -> None:
        if self._champion is champion and self.challenger == challenger:
            return
        self.close()
        self._champion, self.challenger, self.shadow = champion, challenger, None
        if challenger is None:
            return
        about = {"model_version": challenger.version and challenger.version.model_version}
        if challenger.comparison and challenger.model:
            self.shadow = Shadow(champion, challenger.model.predictor, challenger.comparison)
            self.shadow.start()
            log.info("challenger", extra={**about, "champion": champion.model_version})
        else:
            log.warning("challenger not compared", extra={**about, "reason": challenger.reason})
