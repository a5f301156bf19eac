"""The last predictions, in memory. Bounded: the oldest fall out; a restart empties it."""

import threading
from collections import deque

from tabserve.inference.records import BatchPrediction, Prediction

SIZE = 1000
"""How many predictions are kept, of whatever kind of request."""


class History:
    """A ring of the last `SIZE` predictions that were recorded. Any thread may append and read.

    A batch is kept in columns until somebody looks: making its rows takes as long as predicting them.
    """

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._ring: deque[Prediction | BatchPrediction] = deque()
        self._rows = 0

    def __len__(self) -> int:
        return min(self._rows, self._size)

    def observe(self, prediction: Prediction) -> None:
        self._append(prediction, 1)

    def observe_batch(self, batch: BatchPrediction) -> None:
        newest = batch.newest(self._size)
        self._append(newest, len(newest.rows))

    def _append(self, event: Prediction | BatchPrediction, rows: int) -> None:
        with self._lock:
            self._ring.append(event)
            self._rows += rows
            while self._rows - (oldest := _rows(self._ring[0])) >= self._size:
                self._ring.popleft()
                self._rows -= oldest

    def page(self, limit: int, offset: int) -> list[Prediction]:
        """`limit` predictions, the newest first, after leaving out the `offset` newest."""
        with self._lock:
            events = list(self._ring)
        kept = [
            row for event in events for row in (event.predictions() if isinstance(event, BatchPrediction) else [event])
        ]
        # by their times: a large batch is recorded after single predictions that were made later
        ordered = sorted(kept[-self._size :], key=lambda prediction: prediction.timestamp)
        return ordered[::-1][offset : offset + limit]


def _rows(event: Prediction | BatchPrediction) -> int:
    return len(event.rows) if isinstance(event, BatchPrediction) else 1
