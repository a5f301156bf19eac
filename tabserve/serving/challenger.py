"""The challenger: a candidate that answers in the shadow what the live model has answered, so that both are compared.

Nothing of it is on a request's way: what was answered waits in a bounded queue, and a thread that everything else goes
before scores it. What comes faster than that is left out, and counted. A challenger that fails is told in `/model/info`
and the log; the caller has been answered before it was asked.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tabserve.errors import TabserveError
from tabserve.inference.records import BatchPrediction, Prediction
from tabserve.model.predictor import Predictor
from tabserve.model.schema import Value
from tabserve.model.versions import RegisteredVersion
from tabserve.monitoring import comparison
from tabserve.monitoring.comparison import ShadowComparison
from tabserve.monitoring.metrics import Metrics
from tabserve.serving.loader import LoadedModel, Loader
from tabserve.serving.threads import step_back

log = logging.getLogger("tabserve.serving.challenger")

PIECE = 100
"""Rows that are scored in one go, holding Python's lock."""

SINGLES, BATCHES = 500, 5
"""How many single rows, and how many batches, `PIECE` rows of each, are scored at a look: the newest. The others are
skipped, and counted."""

PAUSE = 1.0
"""Seconds between two looks at what was answered: a thousand rows a second at most, however many are answered."""

BREATH = 0.005
"""Seconds between two pieces, in which what had to wait for Python's lock catches up."""


@dataclass(frozen=True)
class Challenger:
    """The version that is marked as the challenger.

    Attributes:
        version: as the registry has it; None if that can't be told.
        live: the loaded model, if it could be loaded.
        tally: how it compares to what is live, if it can be compared.
        reason: why it isn't compared, or answers nobody; None if all is well.
    """

    version: RegisteredVersion | None
    live: LoadedModel | None = None
    tally: ShadowComparison | None = None
    reason: str | None = None


class Shadow:
    """Observes what one of two models answered, and has the other one answer it too, until it is closed."""

    def __init__(self, champion: Predictor, challenger: Predictor, tally: ShadowComparison) -> None:
        self._champion, self._challenger, self._tally = champion, challenger, tally
        self._lock = threading.Lock()
        self._singles: deque[Prediction] = deque(maxlen=SINGLES)
        self._batches: deque[BatchPrediction] = deque(maxlen=BATCHES)
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
            self._singles.append(prediction)
            self._offered += 1

    def observe_batch(self, batch: BatchPrediction) -> None:
        newest = batch.newest(PIECE)
        with self._lock:
            self._batches.append(newest)
            self._offered += len(batch.rows)

    def _run(self) -> None:
        step_back()
        while not self._closing.wait(PAUSE):
            self.score()

    def score(self) -> None:
        """Scores the newest of what was answered since the last time. Raises nothing."""
        with self._lock:
            singles, self._singles = self._singles, deque(maxlen=SINGLES)
            batches, self._batches = self._batches, deque(maxlen=BATCHES)
            offered, self._offered = self._offered, 0
        for answered, other in ((self._champion, self._challenger), (self._challenger, self._champion)):
            rows = [one for one in singles if one.model_version == answered.model_version]
            pieces: list[list[Prediction] | BatchPrediction] = [
                rows[at : at + PIECE] for at in range(0, len(rows), PIECE)
            ]
            pieces += [batch for batch in batches if batch.model_version == answered.model_version]
            for piece in pieces:
                if self._closing.wait(BREATH):
                    return
                offered -= self._score(piece, other)
        self._tally.leave_out(offered, "skipped")

    def _score(self, piece: list[Prediction] | BatchPrediction, other: Predictor) -> int:
        """Counts what the other model says to a piece, and gives back how many rows that were."""
        count = len(piece.rows) if isinstance(piece, BatchPrediction) else len(piece)
        try:
            rows = piece.predictions() if isinstance(piece, BatchPrediction) else piece
            shares = np.array([one.outcome.prediction_proba for one in rows])
            theirs = other.outputs(np.array([other.schema.row(one.inputs) for one in rows]))
            found = comparison.difference(shares, theirs)
            self._time(rows[0].inputs)
            self._tally.add(found)
        except Exception:
            self._tally.leave_out(count, "failed")
            if not self._failed:  # in the log once, however often
                log.exception("the challenger can't be scored")
            self._failed = True
        return count

    def _time(self, values: Mapping[str, Value]) -> None:
        """How long each takes for a row: both do it twice, so that neither warms up for the other."""
        for predictor in (self._champion, self._challenger):
            row = predictor.schema.row(values)
            predictor.row_outputs(row)
            started = time.perf_counter()
            predictor.row_outputs(row)
            self._tally.took(predictor.model_version, time.perf_counter() - started)


class Challenge:
    """Keeps the shadow to what is live and what is marked as the challenger."""

    def __init__(self, loader: Loader, metrics: Metrics) -> None:
        self._loader, self._metrics = loader, metrics
        self._given_up: tuple[str, str] | None = None
        self.champion: Predictor | None = None
        self.now: Challenger | None = None
        self.shadow: Shadow | None = None

    def follow(self, champion: LoadedModel, version: RegisteredVersion | None) -> None:
        """From now on this is live, and that version, if any, is the challenger."""
        same_champion = self.champion is champion.predictor
        settled = self.now and self.now.version == version and not self.now.reason
        if same_champion and settled and not (version and self._is_given_up(version)):
            return
        found = self._found(champion, version) if version else None
        if not same_champion or found != self.now:
            self._put(champion.predictor, found)

    def lose(self, champion: LoadedModel, reason: str) -> None:
        """It can't be told who the challenger is."""
        found = Challenger(None, reason=reason)
        if self.champion is not champion.predictor or found != self.now:
            self._put(champion.predictor, found)

    def give_up(self, failed: LoadedModel, reason: str) -> None:
        """From the next `follow` on this one is loaded and compared no more. Blocks for nothing; any thread may."""
        self._given_up = failed.predictor.release.checksum, reason

    def _is_given_up(self, version: RegisteredVersion) -> bool:
        return self._given_up is not None and self._given_up[0] == version.checksum

    def close(self) -> None:
        if self.shadow:
            self.shadow.close()

    def _found(self, champion: LoadedModel, version: RegisteredVersion) -> Challenger:
        if version.checksum == champion.predictor.release.checksum:
            return Challenger(version, reason="it is what is live")
        if self._given_up and self._is_given_up(version):
            return Challenger(version, reason=self._given_up[1])
        loaded = self.now.live if self.now and self.now.version == version else None
        try:
            live = loaded or self._loader.load(version)
        except TabserveError as error:
            return Challenger(version, reason=str(error))
        if reason := champion.predictor.schema.incompatibility(live.predictor.schema):
            return Challenger(version, live, reason=reason)
        tally = self._metrics.tally(champion.predictor.model_version, live.predictor.model_version)
        return Challenger(version, live, tally)

    def _put(self, champion: Predictor, found: Challenger | None) -> None:
        self.close()
        self.champion, self.now, self.shadow = champion, found, None
        if found:
            about = {"model_version": found.version and found.version.model_version}
            if found.tally and found.live:
                self.shadow = Shadow(champion, found.live.predictor, found.tally)
                self.shadow.start()
                log.info("challenger", extra=about)
            else:
                log.warning("challenger not compared", extra={**about, "reason": found.reason})
