"""The last predictions, in memory. Bounded: the oldest are dropped. A restart empties it."""

import threading
from collections import deque

from tabserve.inference import BatchPrediction, Prediction, Record

HISTORY_SIZE = 1000
"""How many predicted rows the history holds, single ones and those of batches together."""


class History:
    """The last `size` predicted rows that were recorded. Thread-safe.

    A batch is stored as columns, and its rows are made when a page is read: making them takes as long as predicting.
    """

    def __init__(self, size: int = HISTORY_SIZE) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._records: deque[Record] = deque()
        self._rows = 0

    def __len__(self) -> int:
        return min(self._rows, self._size)

    def observe(self, prediction: Prediction) -> None:
        self._append(prediction, 1)

    def observe_batch(self, batch: BatchPrediction) -> None:
        newest = batch.newest(self._size)
        self._append(newest, len(newest))

    def _append(self, record: Record, rows: int) -> None:
        with self._lock:
            self._records.append(record)
            self._rows += rows
            while self._rows - (oldest := _row_count(self._records[0])) >= self._size:
                self._records.popleft()
                self._rows -= oldest

    def page(self, limit: int, offset: int) -> list[Prediction]:
        """`limit` predictions, the newest first, without the `offset` newest."""
        with self._lock:
            records = list(self._records)
        rows = [
            row
            for record in records
            for row in (record.predictions() if isinstance(record, BatchPrediction) else [record])
        ]
        # sorted by time, because a large batch is recorded after single predictions that were made later
        ordered = sorted(rows[-self._size :], key=lambda row: row.timestamp)
        return ordered[::-1][offset : offset + limit]


def _row_count(record: Record) -> int:
    return len(record) if isinstance(record, BatchPrediction) else 1
