"""The service: what is live, what answers a caller, and following the registry. Knows no transport.

A look at the registry loads and verifies a new release beside the one that serves, then swaps one reference. A
request takes that reference once, so no reply mixes two versions. What fails leaves the old one in place and is said in
`state()`. What is answered becomes one record, and observers are told of it once its reply is ready to go out.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tabserve.errors import NoModelError, ReleaseError, TabserveError
from tabserve.inference.records import BatchPrediction, Observer, Prediction
from tabserve.model.versions import Deployment, RegisteredVersion
from tabserve.monitoring.metrics import Metrics
from tabserve.serving.challenger import Challenge, Challenger
from tabserve.serving.loader import LoadedModel, Loader, Source, grown
from tabserve.serving.threads import hand_over_soon

log = logging.getLogger("tabserve.serving.service")

IMPATIENCE = 3.0
"""Seconds that a registry has for its first answer; then what was live before is served until it comes."""


@dataclass(frozen=True)
class State:
    """How the service is, for whoever asks after its health, and what answers.

    `healthy`: it serves what the registry says. `degraded`: it serves, but not what the registry says, or the registry
    can't be asked. `unhealthy`: there is nothing to serve. `reason` says why and what to do; None when healthy.

    `challenger` is the candidate that is watched, if there is one; it answers the `share` of callers, and has no say in
    health.
    """

    status: Literal["healthy", "degraded", "unhealthy"]
    reason: str | None
    champion: LoadedModel | None
    challenger: Challenger | None = None
    challenger_share: float = 0.0

    def model(self) -> LoadedModel:
        """The live model.

        Raises:
            NoModelError: there is none.
        """
        if self.champion is None:
            raise NoModelError(self.reason)
        return self.champion

    def model_for(self, caller: bytes) -> LoadedModel:
        """What answers the caller with this key: always the same one, as long as these two models and the share stay.
        Whoever gives no key is answered by what is live. A larger share leaves those in that a smaller one had.

        Raises:
            NoModelError: there is no model.
        """
        challenger = self.challenger and self.challenger.live
        if not (self.challenger_share and caller and challenger):
            return self.model()
        # the version is hashed too, so that it isn't always the same callers who meet a candidate
        salted = challenger.predictor.model_version.encode() + caller
        place = int.from_bytes(hashlib.blake2b(salted, digest_size=8).digest()) / 2**64
        return challenger if place < self.challenger_share else self.model()


class Service:
    """Holds the live model, and between `start` and `stop` keeps up with the registry in a thread of its own."""

    def __init__(
        self, source: Source, metrics: Metrics, observers: Sequence[Observer], follow_seconds: float, share: float = 0.0
    ) -> None:
        """`share`: of the callers, from 0 to 1, that a challenger answers."""
        self._source, self._metrics = source, metrics
        self._observers = self._told = tuple(observers)
        self._pause, self._share = follow_seconds, share
        self._loader = Loader(source, follow_seconds, refused=lambda: metrics.reload("refused"))
        self._challenge = Challenge(Loader(source, follow_seconds), metrics)
        self._state = State("unhealthy", "The model is being loaded. Try again in a moment.", None)
        self._failures = 0
        self._noticed: tuple[str, RegisteredVersion | None] | None = None
        self._no_journal: str | None = None
        self._moves: tuple[Deployment, ...] = ()
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        # the challenger in a thread of its own: whatever it takes to get it holds up no champion
        self._threads = [
            threading.Thread(target=follow, name=name, daemon=True)
            for name, follow in (("follow", self._follow), ("follow-challenger", self._follow_challenger))
        ]
        self._answered = False
        self._impatient = threading.Timer(IMPATIENCE, self._lose_patience)
        self._impatient.daemon = True

    # -- following the registry

    def start(self) -> None:
        hand_over_soon()  # a look at the registry, and the loading of a model, hold up no request
        for thread in self._threads:
            thread.start()
        self._impatient.start()

    def stop(self) -> None:
        """Ends the following. A look that hangs in the network is left behind: the threads are daemons."""
        self._stopping.set()
        self._impatient.cancel()
        for thread in self._threads:
            thread.join(timeout=2)
        self._challenge.close()

    def _follow(self) -> None:
        while not self._stopping.is_set():
            self.poll()
            self._stopping.wait(self._next_pause())

    def _follow_challenger(self) -> None:
        while not self._stopping.is_set():
            self.poll_challenger()
            self._stopping.wait(self._pause)

    def _next_pause(self) -> float:
        """The usual pause; while the store can't be asked a growing one."""
        return grown(self._pause, self._failures) if self._failures else self._pause

    def poll(self) -> None:
        """Looks at the registry once and swaps the model if another one is live there. Raises nothing."""
        try:
            champion = self._champion()
            self._keep_up_with(champion)
            self._failures = 0
            self._notice(champion)
        except NoModelError as error:
            # nothing is broken, and the first training should be live at once: no growing pauses
            self._failures = 0
            self._say(str(error), logging.WARNING)
        except TabserveError as error:
            self._fail(str(error))
        except Exception as error:  # whatever it was, the following goes on and the old model stays
            if not self._failures:
                log.exception("following the registry failed")
            self._fail(f"following the registry failed: {error}")
        finally:
            self._answered = True

    def _keep_up_with(self, version: RegisteredVersion) -> None:
        """Serves this version, if it doesn't already."""
        live = self._state.champion
        if live is None or live.predictor.release.checksum != version.checksum:
            try:
                self._swap(version)
            except ReleaseError as error:
                self._fall_back(str(error))
                self._say(str(error), logging.ERROR)
        elif live.registry_version != version.registry_version:
            self._show(replace(live, registry_version=version.registry_version, run_id=version.run_id))
        elif self._state.reason:
            self._show(live)

    def _notice(self, champion: RegisteredVersion) -> None:
        """Reads the journal if it must have grown, or if a deployment in it isn't recorded yet, which a command may be
        about to do. Without a journal the service is still healthy, and the next poll asks again."""
        challenger = self._state.challenger
        marked = challenger.version if challenger else None
        is_recorded = all(deployment.recorded for deployment in self._moves)
        if is_recorded and (champion.registry_version, marked) == self._noticed:
            return
        try:
            self._moves = tuple(self._source.deployments())
            self._noticed, self._no_journal = (champion.registry_version, marked), None
        except TabserveError as error:
            if str(error) != self._no_journal:  # in the log once, however long it lasts
                log.warning("no journal", extra={"reason": str(error)})
            self._no_journal = str(error)

    def poll_challenger(self) -> None:
        """Looks once at what is marked as the challenger, and keeps up with that. Its troubles are told beside it, and
        are none of health; while the store can't be asked for what is live, everything stays as it is. Raises nothing.
        """
        live = self._state.champion
        if live is None or self._failures:
            return
        try:
            self._challenge.follow(live, self._source.challenger())
        except Exception as error:  # whatever it is, what is live goes on
            told = self._challenge.now and self._challenge.now.reason == str(error)
            if not isinstance(error, TabserveError) and not told:
                log.exception("following the challenger failed")
            self._challenge.lose(live, str(error))
        challenger, shadow = self._challenge.now, self._challenge.shadow
        with self._lock:
            if self._state.champion is None or self._state.champion.predictor is not live.predictor:
                return  # swapped meanwhile: the next look holds the challenger against the new one
            self._told = (*self._observers, shadow) if shadow else self._observers
            share = self._share if challenger and challenger.tally else 0.0
            self._state = replace(self._state, challenger=challenger, challenger_share=share)

    def drop_challenger(self, failed: LoadedModel, error: Exception) -> None:
        """A challenger failed to answer a caller: it answers nobody any more, until another version is marked."""
        reason = f"it failed to answer: {error!r}"
        self._challenge.give_up(failed, reason)
        with self._lock:
            challenger = self._state.challenger
            if challenger and challenger.live is failed:
                log.error("challenger given up", extra={"reason": reason})
                self._state = replace(self._state, challenger=replace(challenger, reason=reason), challenger_share=0.0)

    def _fail(self, trouble: str) -> None:
        self._failures += 1
        self._metrics.reload("unavailable")
        self._fall_back(trouble)
        self._say(trouble, logging.ERROR)

    def _lose_patience(self) -> None:
        if not self._answered:
            self._fall_back(f"the registry hasn't answered for {IMPATIENCE:g} s")

    def _fall_back(self, trouble: str) -> None:
        """Serves what was live before and still verifies, if there is nothing else to serve."""
        for version in self._source.remembered() if self._state.champion is None else ():
            try:
                live = LoadedModel.of(version, self._source.cached(version))
            except ReleaseError:
                continue
            except Exception:  # whatever it is, the following goes on
                log.exception("what was live before can't be served")
                continue
            with self._lock:
                if self._state.champion is None:
                    self._show(live, trouble)
            return

    def _champion(self) -> RegisteredVersion:
        try:
            return self._source.champion()
        except TabserveError as error:
            if isinstance(error, NoModelError) and self._state.champion is None:
                raise
            # a file store has no transactions: a look may fall into the middle of a write
            self._stopping.wait(0.1)
            return self._source.champion()

    def _swap(self, version: RegisteredVersion) -> None:
        started = time.perf_counter()
        self._show(self._loader.load(version))
        self._source.remember(version)
        self._metrics.reload("loaded")
        milliseconds = round((time.perf_counter() - started) * 1000)
        log.info(
            "model live",
            extra={"model_version": version.model_version, "version": version.registry_version, "ms": milliseconds},
        )

    def _say(self, trouble: str, level: int) -> None:
        """Keeps what is served, and says that it isn't as it should be."""
        with self._lock:
            self._show(self._state.champion, trouble, level)

    def _show(self, live: LoadedModel | None, trouble: str | None = None, level: int = logging.WARNING) -> None:
        """Changes what is served and what is said of it, in one step. A trouble is in the log once, however long it
        lasts."""
        with self._lock:
            old = self._state
            reason = trouble
            if live and trouble:
                reason = f"{trouble}. {live.predictor.model_version} is served meanwhile"
            if reason and reason != old.reason:
                log.log(level, "keeping the model" if live else "no model", extra={"reason": reason})
            same = live is not None and old.champion is not None and live.predictor is old.champion.predictor
            self._state = replace(
                old,
                status="unhealthy" if live is None else "degraded" if reason else "healthy",
                reason=reason,
                champion=live,
                challenger_share=old.challenger_share
                if same
                else 0.0,  # a challenger that wasn't held against this model answers nobody
            )
            if live and live is not old.champion:
                self._metrics.serving(live.predictor.model_version, live.registry_version)

    # -- answering

    def state(self) -> State:
        """How it is, and what it serves, in one reference."""
        return self._state

    def deployments(self) -> Sequence[Deployment]:
        """How the live model came to be: the journal; at its end the moves by hand that it lacks."""
        return self._moves

    def live(self) -> LoadedModel:
        """The live model: one reference, to be taken once a request.

        Raises:
            NoModelError: there is none.
        """
        return self._state.model()

    def record(self, event: Prediction | BatchPrediction) -> None:
        """Tells every observer. One that fails is logged and counted; the caller still gets the prediction."""
        for observer in self._told:
            try:
                observer.observe(event) if isinstance(event, Prediction) else observer.observe_batch(event)
            except Exception:
                log.exception("an observer failed")
                self._metrics.observer_error()
