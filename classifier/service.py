"""The service: the current predictor, predictions, and following the registry. Knows no transport.

A look at the registry loads and verifies a new release beside the one that serves, then swaps one reference. A
request takes that reference once, so no reply mixes two versions. What fails leaves the old one in place and is said in
`state()`. What is answered becomes one record, and observers are told of it once its reply is ready to go out.
"""

import functools
import logging
import os
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

import numpy as np

from classifier.errors import ClassifierError, NoModelError, ReleaseError
from classifier.journal import Move
from classifier.metrics import Metrics
from classifier.predictor import Predictor
from classifier.record import Batch, Observer, Prediction
from classifier.release import RegisteredVersion, Release
from classifier.schema import Matrix

log = logging.getLogger("classifier.service")

IMPATIENCE = 3.0
"""Seconds that a registry has for its first answer; then what was live before is served until it comes."""

MAX_PAUSE = 60.0
"""Longest pause, in seconds, between two tries at something that keeps failing."""


class Source(Protocol):
    """Where releases come from. Each may block for long and raise a `ClassifierError`.

    `noticed` gives the journal, once it says that this version is champion. `remember` is told what is served, and
    `remembered` gives that back after a restart, the last one first; `kept` reads a release without the registry.
    """

    def champion(self) -> RegisteredVersion: ...
    def fetch(self, version: RegisteredVersion) -> Release: ...
    def noticed(self, champion: RegisteredVersion) -> Sequence[Move]: ...
    def remember(self, version: RegisteredVersion) -> None: ...
    def remembered(self) -> Sequence[RegisteredVersion]: ...
    def kept(self, version: RegisteredVersion) -> Release: ...


@dataclass(frozen=True)
class Live:
    """What is served: a predictor and the registered version that it came from, in one reference."""

    predictor: Predictor
    registry_version: str
    run_id: str
    since: str


@dataclass(frozen=True)
class State:
    """How the service is, for whoever asks after its health.

    `healthy`: it serves what the registry says. `degraded`: it serves, but not what the registry says, or the registry
    can't be asked. `unhealthy`: there is nothing to serve. `reason` says why and what to do; None when healthy.
    """

    status: Literal["healthy", "degraded", "unhealthy"]
    reason: str | None
    live: Live | None


@dataclass(frozen=True)
class Refusal:
    """A release that was refused `times` times in a row, and when, by the monotonic clock, it is tried `again`."""

    checksum: str
    times: int
    again: float
    reason: str


class Service:
    """Holds the live model, and between `start` and `stop` keeps up with the registry in a thread of its own."""

    def __init__(self, source: Source, metrics: Metrics, observers: Sequence[Observer], follow_seconds: float) -> None:
        self._source, self._metrics, self._observers = source, metrics, tuple(observers)
        self._pause = follow_seconds
        self._state = State("unhealthy", "The model is being loaded. Try again in a moment.", None)
        self._failures = 0
        self._refused: Refusal | None = None
        self._noticed: str | None = None
        self._no_journal: str | None = None
        self._moves: tuple[Move, ...] = ()
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follow-registry", daemon=True)
        self._answered = False
        self._impatient = threading.Timer(IMPATIENCE, self._lose_patience)
        self._impatient.daemon = True

    # -- following the registry

    def start(self) -> None:
        self._thread.start()
        self._impatient.start()

    def stop(self) -> None:
        """Ends the following. A look that hangs in the network is left behind: the thread is a daemon."""
        self._stopping.set()
        self._impatient.cancel()
        self._thread.join(timeout=2)

    def _follow(self) -> None:
        while not self._stopping.is_set():
            self.look()
            self._stopping.wait(self._next_pause())

    def _next_pause(self) -> float:
        """The usual pause; while the store can't be asked a growing one."""
        return self._grown(self._failures) if self._failures else self._pause

    def _grown(self, failures: int) -> float:
        """Twice as long with each failure in a row, up to `MAX_PAUSE`, with jitter of a quarter."""
        doubled: float = self._pause * 2.0 ** min(failures - 1, 16)
        return min(doubled, max(MAX_PAUSE, self._pause)) * random.uniform(0.75, 1.25)

    def look(self) -> None:
        """Looks at the registry once and swaps the model if another one is live there. Raises nothing."""
        try:
            champion = self._champion()
            self._keep_up_with(champion)
            self._failures = 0
            if champion.registry_version != self._noticed:
                self._notice(champion)
        except NoModelError as error:
            # nothing is broken, and the first training should be live at once: no growing pauses
            self._failures = 0
            self._say(str(error), logging.WARNING)
        except ClassifierError as error:
            self._fail(str(error))
        except Exception as error:  # whatever it was, the following goes on and the old model stays
            if not self._failures:
                log.exception("following the registry failed")
            self._fail(f"following the registry failed: {error}")
        finally:
            self._answered = True

    def _keep_up_with(self, version: RegisteredVersion) -> None:
        """Serves this version, if it doesn't already. One that was refused is tried again only after a growing pause;
        another one that becomes champion meanwhile isn't held up by it."""
        live = self._state.live
        if live is None or live.predictor.release.checksum != version.checksum:
            before = self._refused if self._refused and self._refused.checksum == version.checksum else None
            if before is None or time.monotonic() >= before.again:
                self._try(version, times=before.times if before else 0)
            else:
                self._say(before.reason, logging.ERROR)
        elif live.registry_version != version.registry_version:
            self._adopt(Live(live.predictor, version.registry_version, version.run_id, live.since))
        elif self._state.reason:
            self._adopt(live)

    def _notice(self, champion: RegisteredVersion) -> None:
        """Takes the journal over. Without it the service is none the worse, and the next look asks again."""
        try:
            self._moves = tuple(self._source.noticed(champion))
            self._noticed, self._no_journal = champion.registry_version, None
        except ClassifierError as error:
            if str(error) != self._no_journal:  # in the log once, however long it lasts
                log.warning("no journal", extra={"reason": str(error)})
            self._no_journal = str(error)

    def _try(self, version: RegisteredVersion, times: int) -> None:
        try:
            self._swap(version)
        except ReleaseError as error:
            reason = f"refused: {error}"
            again = time.monotonic() + self._grown(times + 1)
            self._refused = Refusal(version.checksum, times + 1, again, reason)
            self._metrics.reload("refused")
            self._fall_back(reason)
            self._say(reason, logging.ERROR)

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
        for version in self._source.remembered() if self._state.live is None else ():
            try:
                predictor = Predictor(self._source.kept(version))
            except ReleaseError:
                continue
            except Exception:  # whatever it is, the following goes on
                log.exception("what was live before can't be served")
                continue
            with self._lock:
                if self._state.live is None:
                    self._adopt(Live(predictor, version.registry_version, version.run_id, _since()))
                    self._say(trouble, logging.WARNING)
            return

    def _champion(self) -> RegisteredVersion:
        try:
            return self._source.champion()
        except ClassifierError as error:
            if isinstance(error, NoModelError) and self._state.live is None:
                raise
            # a file store has no transactions: a look may fall into the middle of a write
            self._stopping.wait(0.1)
            return self._source.champion()

    def _swap(self, version: RegisteredVersion) -> None:
        started = time.perf_counter()
        predictor = Predictor(self._source.fetch(version))
        self._adopt(Live(predictor, version.registry_version, version.run_id, _since()))
        self._source.remember(version)
        self._metrics.reload("loaded")
        milliseconds = round((time.perf_counter() - started) * 1000)
        log.info(
            "model live",
            extra={"model_version": version.model_version, "version": version.registry_version, "ms": milliseconds},
        )

    def _adopt(self, live: Live) -> None:
        with self._lock:
            self._state = State("healthy", None, live)
            self._metrics.serving(live.predictor.model_version, live.registry_version)

    def _say(self, trouble: str, level: int) -> None:
        """Keeps what is served, and says that it isn't as it should be. In the log once, however long it lasts."""
        with self._lock:
            old = self._state
            reason = f"{trouble}. {old.live.predictor.model_version} is served meanwhile" if old.live else trouble
            if reason != old.reason:
                log.log(level, "no model" if old.live is None else "keeping the model", extra={"reason": reason})
            self._state = State("unhealthy" if old.live is None else "degraded", reason, old.live)

    # -- answering

    def state(self) -> State:
        """How it is, and what it serves, in one reference."""
        return self._state

    def moves(self) -> Sequence[Move]:
        """How the live model came to be: the journal, as it was when it became live."""
        return self._moves

    def live(self) -> Live:
        """The live model: one reference, to be taken once a request.

        Raises:
            NoModelError: there is none.
        """
        state = self._state
        if state.live is None:
            raise NoModelError(state.reason)
        return state.live

    def record(self, event: Prediction | Batch) -> None:
        """Tells every observer. One that fails is logged and counted; the caller still gets the prediction."""
        for observer in self._observers:
            try:
                observer.observe(event) if isinstance(event, Prediction) else observer.observe_batch(event)
            except Exception:
                log.exception("an observer failed")
                self._metrics.observer_error()


def _since() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def predict(predictor: Predictor, values: dict[str, float], started: float) -> Prediction:
    """Answers one row, `values` by feature name, which the record keeps. `started`: `time.perf_counter()` when its body
    was complete."""
    schema = predictor.schema
    row = [values[name] for name in predictor.feature_names]
    shares = predictor.answer(row)
    confidence = max(shares)
    index = shares.index(confidence)  # the first of equals, as numpy's argmax and so scikit-learn
    label, warnings = schema.classes[index], schema.warnings(row)
    milliseconds = (time.perf_counter() - started) * 1000
    # by position: by name it takes twice as long
    return Prediction(
        os.urandom(16).hex(), _now(), predictor.model_version,
        values, index, label, shares, confidence, warnings, milliseconds,
    )  # fmt: skip


def _now() -> str:
    """Now as ISO 8601, UTC, with microseconds."""
    second, microsecond = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{_until_the_second(second)}.{microsecond:06}+00:00"


@functools.lru_cache(maxsize=1)
def _until_the_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def predict_batch(predictor: Predictor, rows: Matrix, started: float) -> Batch:
    """Answers rows of shape (n, features), in their order."""
    shares = predictor.probabilities(rows)
    best = shares.argmax(axis=1)
    return Batch(
        batch_id=os.urandom(16).hex(),
        timestamp=_now(),
        model_version=predictor.model_version,
        schema=predictor.schema,
        rows=rows,
        prediction=best,
        prediction_proba=shares,
        confidence=shares[np.arange(len(rows)), best],
        latency_ms=(time.perf_counter() - started) * 1000,
    )
