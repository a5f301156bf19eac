"""BentoML: a service with one API that takes and returns arrays."""

import bentoml
import numpy as np

from benchmarks.peers.model import BATCHING, MAX_BATCH, load


@bentoml.service(workers=1)
class Iris:
    def __init__(self) -> None:
        self.predict_proba = load()

    @bentoml.api(batchable=BATCHING, max_batch_size=MAX_BATCH)
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.predict_proba(rows)
