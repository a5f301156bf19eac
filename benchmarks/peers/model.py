"""The model as a peer is given it. This and the files beside it run in the peers' own environments.

The pipeline as scikit-learn has it, or this project's compiled engine; both are probabilities of rows, as in
`predict_proba`: float64, (n, features) → (n, classes).
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
"""Whether the server is to gather requests into batches, of at most `MAX_BATCH` after at most `WAIT` seconds."""

MAX_BATCH = 64
WAIT = 0.001


def load() -> Callable[[Any], Rows]:
    workspace = Path(os.environ["PEER_WORKSPACE"])
    if os.environ["PEER_ENGINE"] == "compiled":
        from tabserve.model import release
        from tabserve.model.predictor import Predictor

        return Predictor(release.read(workspace / "release")).outputs
    import joblib

    warnings.filterwarnings("ignore", "X does not have valid feature names")
    pipeline = joblib.load(workspace / "model.joblib")
    return lambda rows: pipeline.predict_proba(np.asarray(rows))
