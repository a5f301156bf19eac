"""The last predictions, in memory. Bounded: the oldest falls out; a restart empties it."""

from collections import deque

from classifier.record import Batch, Prediction

SIZE = 1000
"""How many predictions are kept, of whatever kind of request."""


class History:
    """A ring of the last `SIZE` predictions that were recorded. Any thread may append and read."""

    def __init__(self, size: int = SIZE) -> None:
        self._ring: deque[Prediction] = deque(maxlen=size)

    def __len__(self) -> int:
        return len(self._ring)

    def observe(self, prediction: Prediction) -> None:
        self._ring.append(prediction)

    def observe_batch(self, batch: Batch) -> None:
        self._ring.extend(batch.newest(SIZE))

    def page(self, limit: int, offset: int) -> list[Prediction]:
        """`limit` predictions, the newest first, after leaving out the `offset` newest."""
        # by their times: a large batch is recorded after single predictions that were made later
        ordered = sorted(self._ring.copy(), key=lambda prediction: prediction.timestamp)
        return ordered[::-1][offset : offset + limit]
