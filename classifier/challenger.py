"""The challenger: a candidate that answers in the shadow what the live model has answered, so that both are compared.

Nothing of it is on a request's way: what was answered waits in a bounded queue, and a thread that everything else goes
before scores it. What comes faster than that is left out, and counted. A challenger that fails is a reason in
`/model/info` and a line in the log; the caller has been answered before it was asked.
"""

import logging
import operator
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from classifier import comparison
from classifier.comparison import Tally
from classifier.errors import ReleaseError
from classifier.loader import Live, Loader
from classifier.metrics import Metrics
from classifier.predictor import Predictor
from classifier.record import Batch, Prediction
from classifier.release import RegisteredVersion
from classifier.schema import Matrix
from classifier.threads import step_back

log = logging.getLogger("classifier.challenger")

ROWS = 1000
"""How many of the newest rows are scored at a look; the others are skipped, and counted."""

PIECE = 100
"""Rows that are scored in one go, holding Python's lock, and the most that are kept of a batch."""

PAUSE = 1.0
"""Seconds between two looks at what was answered. With `ROWS` this bounds the work, however much is answered."""

BREATH = 0.005
"""Seconds between two pieces, in which what had to wait for Python's lock catches up."""


@dataclass(frozen=True)
class Challenger:
    """The version that is marked as the challenger.

    Attributes:
        version: as the registry has it.
        live: the loaded model; None if it can't be, and then `reason` says why.
        tally: how it compares to what is live; None if it can't be compared, and then `reason` says why.
    """

    version: RegisteredVersion
    live: Live | None = None
    tally: Tally | None = None
    reason: str | None = None


class Shadow:
    """Observes what one of two models answered, and has the other one answer it too, until it is closed."""

    def __init__(self, champion: Predictor, challenger: Predictor, tally: Tally) -> None:
        self._champion, self._challenger, self._tally = champion, challenger, tally
        self._pick = operator.itemgetter(*champion.feature_names)
        self._lock = threading.Lock()
        self._waiting: deque[Prediction | Batch] = deque(maxlen=ROWS)
        self._offered = 0
        self._failed = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Ends it; what waits is dropped. Doesn't wait for the thread."""
        self._closing.set()

    def observe(self, prediction: Prediction) -> None:
        with self._lock:
            self._waiting.append(prediction)
            self._offered += 1

    def observe_batch(self, batch: Batch) -> None:
        newest = batch.newest(PIECE)
        with self._lock:
            self._waiting.append(newest)
            self._offered += len(batch.rows)

    def _run(self) -> None:
        step_back()
        while not self._closing.wait(PAUSE):
            self.score()

    def score(self) -> None:
        """Scores the newest of what was answered since the last time. Raises nothing."""
        with self._lock:
            waiting, self._waiting = self._waiting, deque(maxlen=ROWS)
            offered, self._offered = self._offered, 0
        compared = 0
        why: Literal["skipped", "failed"] = "skipped"
        try:
            for answered, rows, shares in self._pieces(waiting):
                if compared >= ROWS or self._closing.wait(BREATH):
                    break
                self._score(answered, rows, shares)
                compared += len(rows)
        except Exception:
            why = "failed"
            if not self._failed:  # in the log once, however often
                log.exception("the challenger can't be scored")
            self._failed = True
        self._tally.leave_out(offered - compared, why)

    def _score(self, answered: str, rows: Matrix, shares: Matrix) -> None:
        other = self._challenger if answered == self._champion.model_version else self._champion
        self._tally.add(comparison.difference(shares, other.probabilities(rows)))
        self._time(rows[0].tolist())

    def _pieces(self, waiting: Iterable[Prediction | Batch]) -> Iterator[tuple[str, Matrix, Matrix]]:
        """The version that answered, rows of at most `PIECE`, and the probabilities that it gave; the newest first."""
        singles: dict[str, list[Prediction]] = {
            predictor.model_version: [] for predictor in (self._champion, self._challenger)
        }
        for event in reversed(list(waiting)):
            if event.model_version not in singles:
                continue  # answered just before one of the two was swapped
            if isinstance(event, Batch):
                yield event.model_version, event.rows, event.prediction_proba
                continue
            piece = singles[event.model_version]
            piece.append(event)
            if len(piece) == PIECE:
                yield event.model_version, *self._together(piece)
                piece.clear()
        for version, piece in singles.items():
            if piece:
                yield version, *self._together(piece)

    def _together(self, piece: list[Prediction]) -> tuple[Matrix, Matrix]:
        rows = np.array([self._pick(one.inputs) for one in piece], dtype=np.float64).reshape(len(piece), -1)
        return rows, np.array([one.prediction_proba for one in piece])

    def _time(self, row: list[float]) -> None:
        """How long each takes for a row: both do it twice, so that neither warms up for the other."""
        for predictor in (self._champion, self._challenger):
            predictor.answer(row)
            started = time.perf_counter()
            predictor.answer(row)
            self._tally.took(predictor.model_version, time.perf_counter() - started)


class Challenge:
    """Keeps the shadow to what is live and what is marked as the challenger."""

    def __init__(self, loader: Loader, metrics: Metrics) -> None:
        self._loader, self._metrics = loader, metrics
        self._champion: Predictor | None = None
        self.now: Challenger | None = None
        self.shadow: Shadow | None = None

    def follow(self, champion: Live, version: RegisteredVersion | None) -> None:
        """From now on this is live, and that version, if any, is the challenger.

        Raises:
            TrackingError: its release can't be had now. Everything stays as it is.
        """
        same_champion = self._champion is champion.predictor
        if same_champion and self.now and self.now.version == version and not self.now.reason:
            return
        found = self._found(champion, version) if version else None
        if not same_champion or found != self.now:
            self._put(champion.predictor, found)

    def close(self) -> None:
        if self.shadow:
            self.shadow.close()

    def _found(self, champion: Live, version: RegisteredVersion) -> Challenger:
        if version.checksum == champion.predictor.release.checksum:
            return Challenger(version, reason="it is what is live")
        loaded = self.now.live if self.now and self.now.version == version else None
        try:
            live = loaded or self._loader.load(version)
        except ReleaseError as error:
            return Challenger(version, reason=str(error))
        if reason := comparison.why_not(champion.predictor.schema, live.predictor.schema):
            return Challenger(version, live, reason=reason)
        tally = self._metrics.tally(champion.predictor.model_version, live.predictor.model_version)
        return Challenger(version, live, tally)

    def _put(self, champion: Predictor, found: Challenger | None) -> None:
        self.close()
        self._champion, self.now, self.shadow = champion, found, None
        if found:
            about = {"model_version": found.version.model_version, "version": found.version.registry_version}
            if found.tally and found.live:
                self.shadow = Shadow(champion, found.live.predictor, found.tally)
                self.shadow.start()
                log.info("challenger", extra=about)
            else:
                log.warning("challenger not scored", extra={**about, "reason": found.reason})
