"""The last predictions, in memory. Bounded: the oldest falls out; a restart empties it."""

from collections import deque
from itertools import islice

from classifier.record import Prediction

SIZE = 1000
"""How many predictions are kept, of whatever kind of request."""


class History:
    """A ring of the newest `SIZE` predictions. One thread appends at a time; any thread may read."""

    def __init__(self, size: int = SIZE) -> None:
        self._ring: deque[Prediction] = deque(maxlen=size)

    def __len__(self) -> int:
        return len(self._ring)

    def observe(self, prediction: Prediction) -> None:
        self._ring.append(prediction)

    def page(self, limit: int, offset: int) -> list[Prediction]:
        """`limit` predictions, the newest first, after leaving out the `offset` newest."""
        snapshot = list(self._ring)
        return list(islice(reversed(snapshot), offset, offset + limit))
