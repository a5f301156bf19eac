"""The model that a peer serves. This module and those of the single peers run in the peers' own environments.

It is scikit-learn's pipeline or this project's compiled engine. Both give the probabilities of rows, as `predict_proba`
does: float64, shape (n, features) → (n, classes).
"""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]

BATCHING = os.environ.get("PEER_BATCHING") == "1"
"""Whether the server gathers requests into batches: of at most `MAX_BATCH` rows, after at most `WAIT` seconds."""

MAX_BATCH = 64
WAIT = 0.001


def load() -> Callable[[Any], Rows]:
    """The `predict_proba` of the engine that `PEER_ENGINE` names."""
    workspace = Path(os.environ["PEER_WORKSPACE"])
    if os.environ["PEER_ENGINE"] == "compiled":
        from tabserve.model import Predictor, release

        return Predictor(release.read(workspace / "release")).outputs
    import joblib

    warnings.filterwarnings("ignore", "X does not have valid feature names")
    pipeline = joblib.load(workspace / "model.joblib")
    return lambda rows: pipeline.predict_proba(np.asarray(rows))
