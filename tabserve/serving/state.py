"""What is served, to which callers, and how healthy the service is.

A `State` never changes; another one replaces it in one step. A reader that takes one reference sees no mixture of two.
"""

import hashlib
import logging
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tabserve.errors import NoModelError
from tabserve.model import Predictor, RegisteredVersion, Release
from tabserve.monitoring import Metrics, ShadowComparison, Status

log = logging.getLogger("tabserve.serving")


@dataclass(frozen=True)
class LoadedModel:
    """A model that can predict.

    Attributes:
        registry_version, run_id: those of the registered version that it was loaded for.
        since: when it was loaded: ISO 8601, UTC, seconds.
    """

    predictor: Predictor
    registry_version: str
    run_id: str
    since: str

    @classmethod
    def load(cls, version: RegisteredVersion, release: Release) -> "LoadedModel":
        """
        Raises:
            ReleaseError: the release can't be computed, or gives other outputs than its golden ones.
        """
        since = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(Predictor(release), version.registry_version, version.run_id, since)


@dataclass(frozen=True)
class Challenger:
    """The version that is marked as the challenger.

    Attributes:
        version: as the registry has it; None if the registry can't say which it is.
        model: the loaded model; None if it couldn't be loaded, or was dropped.
        comparison: how it compares with the champion; None if it can't be compared.
        reason: why it isn't compared, or answers no caller; None if it is and does.
    """

    version: RegisteredVersion | None
    model: LoadedModel | None = None
    comparison: ShadowComparison | None = None
    reason: str | None = None


@dataclass(frozen=True)
class State:
    """What is served, to which callers, and how healthy the service is.

    Attributes:
        status: `healthy`: the registry's champion is served. `degraded`: a model is served, but it isn't the registry's
            champion, or the registry can't be asked. `unhealthy`: there is no model to serve.
        reason: why it isn't healthy, and what to do; None if it is.
        champion: the model that answers; None if there is none. While the status is `degraded` it may be an earlier
            champion.
        challenger: the candidate that is compared with it, if a version is marked as one. It doesn't affect the status.
        challenger_share: the share of the callers that the challenger answers, from 0 to 1.
    """

    status: Status
    reason: str | None
    champion: LoadedModel | None
    challenger: Challenger | None = None
    challenger_share: float = 0.0

    def model(self) -> LoadedModel:
        """The champion.

        Raises:
            NoModelError: there is no model to serve. The message says what to do.
        """
        if self.champion is None:
            raise NoModelError(self.reason)
        return self.champion

    def model_for(self, caller: bytes) -> LoadedModel:
        """The model that predicts for the caller with this key: the champion, or for a share of the callers the
        challenger.

        A caller always gets the same one of two models. The champion predicts for callers without a key. If the share
        grows, the challenger keeps the callers that it had.

        Raises:
            NoModelError: there is no model to serve. The message says what to do.
        """
        challenger = self.challenger and self.challenger.model
        if not (self.challenger_share and caller and challenger):
            return self.model()
        # the version is part of the hash, so that each challenger gets other callers
        salted = challenger.predictor.model_version.encode() + caller
        position = int.from_bytes(hashlib.blake2b(salted, digest_size=8).digest()) / 2**64
        return challenger if position < self.challenger_share else self.model()


LOADING = State("unhealthy", "The model is being loaded. Try again in a moment.", None)
"""The state until the first poll of the registry is over."""


class CurrentState:
    """The state of a service, which several threads change one after the other. Logs what changes.

    Attributes:
        value: the state. Any thread may read it, without a lock.
    """

    def __init__(self, metrics: Metrics, challenger_share: float) -> None:
        """`challenger_share`: the share of the callers that a challenger answers, once it is compared."""
        self._metrics, self._challenger_share = metrics, challenger_share
        self._lock = threading.RLock()
        self.value = LOADING

    def serve(self, model: LoadedModel) -> None:
        """From now on this model is served, as the registry says."""
        self._set(model)

    def report(self, problem: str, level: int) -> None:
        """What is served stays, but isn't what the registry says, or the registry can't be asked."""
        with self._lock:
            self._set(self.value.champion, problem, level)

    def serve_unless_changed(self, before: State, model: LoadedModel, problem: str) -> None:
        """Serves this model because of a problem, unless another thread has replaced the state `before`."""
        with self._lock:
            if self.value is before:
                self._set(model, problem)

    def _set(self, model: LoadedModel | None, problem: str | None = None, level: int = logging.WARNING) -> None:
        """Changes what is served and what is reported, in one step. A problem is logged once, however long it lasts."""
        with self._lock:
            before = self.value
            reason = problem
            if model and problem:
                reason = f"{problem}. {model.predictor.model_version} is served meanwhile"
            if reason and reason != before.reason:
                log.log(level, "keeping the model" if model else "no model", extra={"reason": reason})
            is_same = model is not None and before.champion is not None and model.predictor is before.champion.predictor
            self.value = replace(
                before,
                status="unhealthy" if model is None else "degraded" if reason else "healthy",
                reason=reason,
                champion=model,
                # a challenger that isn't compared with this champion answers nobody
                challenger_share=before.challenger_share if is_same else 0.0,
            )
            self._metrics.service.status(self.value.status)
            if model and model is not before.champion:
                self._metrics.service.serving(model.predictor.model_version, model.registry_version)

    def set_challenger(self, champion: LoadedModel, challenger: Challenger | None) -> bool:
        """From now on this is the challenger of this champion. Does nothing, and returns False, if another champion is
        served by now."""
        with self._lock:
            present = self.value.champion
            if present is None or present.predictor is not champion.predictor:
                return False
            share = self._challenger_share if challenger and challenger.comparison else 0.0
            self.value = replace(self.value, challenger=challenger, challenger_share=share)
            return True

    def drop_challenger(self, model: LoadedModel, reason: str) -> None:
        """From now on this challenger answers no caller."""
        with self._lock:
            challenger = self.value.challenger
            if challenger and challenger.model is model and challenger.reason is None:
                about = {"model_version": model.predictor.model_version}
                log.error(
                    "challenger given up", extra={**about, "reason": f"{reason}. The champion answers all callers"}
                )
                self.value = replace(self.value, challenger=replace(challenger, reason=reason), challenger_share=0.0)
