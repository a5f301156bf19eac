"""The shadow: a model predicts again, unseen by callers, what another model answered, so that both are compared.

It takes no time from requests: answered records wait in a bounded queue, and a thread of low priority scores the newest
of them. The others are skipped, and counted. A failure is counted and logged; callers have their answers already.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping

import numpy as np

from tabserve.inference import BatchPrediction, Prediction
from tabserve.model import Predictor, Value
from tabserve.monitoring import ShadowComparison
from tabserve.serving.threads import lower_priority

log = logging.getLogger("tabserve.serving")

ROWS_AT_ONCE = 100
"""How many rows are scored without a pause. Meanwhile the thread holds the GIL."""

MAX_SINGLE_ROWS, MAX_BATCHES = 500, 5
"""How many single rows, and how many batches with `ROWS_AT_ONCE` rows each, are scored each time."""

SCORE_SECONDS = 1.0
"""Pause between two times: at most 1000 rows are scored per second, however many are answered."""

GIL_SECONDS = 0.005
"""Pause between two parts of `ROWS_AT_ONCE` rows, in which threads that waited for the GIL catch up."""


class Shadow:
    """Observes the records of two models, and lets the other model predict the same rows, until it is closed."""

    def __init__(self, champion: Predictor, challenger: Predictor, comparison: ShadowComparison) -> None:
        self._champion, self._challenger, self._comparison = champion, challenger, comparison
        self._lock = threading.Lock()
        self._singles: deque[Prediction] = deque(maxlen=MAX_SINGLE_ROWS)
        self._batches: deque[BatchPrediction] = deque(maxlen=MAX_BATCHES)
        self._observed_rows = 0
        self._has_failed = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Ends the thread, without waiting for it. Records that aren't scored yet are dropped."""
        self._closing.set()

    def observe(self, prediction: Prediction) -> None:
        with self._lock:
            self._singles.append(prediction)
            self._observed_rows += 1

    def observe_batch(self, batch: BatchPrediction) -> None:
        newest = batch.newest(ROWS_AT_ONCE)
        with self._lock:
            self._batches.append(newest)
            self._observed_rows += len(batch)

    def _run(self) -> None:
        lower_priority()
        while not self._closing.wait(SCORE_SECONDS):
            self.score()

    def score(self) -> None:
        """Scores the newest rows that were observed since the last time. Raises nothing."""
        with self._lock:
            singles, self._singles = self._singles, deque(maxlen=MAX_SINGLE_ROWS)
            batches, self._batches = self._batches, deque(maxlen=MAX_BATCHES)
            unscored, self._observed_rows = self._observed_rows, 0
        for answering, other in ((self._champion, self._challenger), (self._challenger, self._champion)):
            rows = [row for row in singles if row.model_version == answering.model_version]
            parts: list[list[Prediction] | BatchPrediction] = [
                rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE)
            ]
            parts += [batch for batch in batches if batch.model_version == answering.model_version]
            for part in parts:
                if self._closing.wait(GIL_SECONDS):
                    return
                self._score(part, other)
                unscored -= len(part)
        self._comparison.add_not_compared(unscored, "skipped")

    def _score(self, part: list[Prediction] | BatchPrediction, other: Predictor) -> None:
        try:
            answered = part.predictions() if isinstance(part, BatchPrediction) else part
            outputs = other.outputs(np.array([other.schema.row(row.inputs) for row in answered]))
            self._measure(answered[0].inputs)
            self._comparison.add([row.outcome for row in answered], other.schema.task.decide_rows(outputs))
        except Exception:
            self._comparison.add_not_compared(len(part), "failed")
            if not self._has_failed:  # logged once, however often it fails
                log.exception("scoring the challenger failed", extra={"effect": "callers still get their answers"})
            self._has_failed = True

    def _measure(self, values: Mapping[str, Value]) -> None:
        """Measures how long each model takes for one row. Each predicts it twice, and only the second time counts, when
        its caches are warm."""
        for predictor in (self._champion, self._challenger):
            row = predictor.schema.row(values)
            predictor.row_outputs(row)
            started = time.perf_counter()
            predictor.row_outputs(row)
            self._comparison.add_latency(predictor.model_version, time.perf_counter() - started)
