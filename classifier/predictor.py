"""A compiled release in memory: rows in, probabilities out. The only door to ONNX Runtime.

Knows the order of rounding that scikit-learn follows; does not know requests, versions in a registry, or who asks.
"""

import numpy as np
import onnxruntime as ort

from classifier.errors import ReleaseError
from classifier.release import TOLERANCE, Release
from classifier.schema import Matrix, Schema

DECIMALS = 7
"""ONNX Runtime gives probabilities as float32, whose digits beyond the seventh are noise: 0.33 comes as 0.33000001."""


class Predictor:
    """Computes what the release's scikit-learn model would, row by row independent of the others. Safe for threads."""

    def __init__(self, release: Release) -> None:
        """Compiles the release and holds it to its golden rows.

        Raises:
            ReleaseError: the forest can't be loaded, or gives other probabilities than it must.
        """
        self.release = release
        self._mean, self._scale = release.mean, release.scale
        options = ort.SessionOptions()
        # one row costs microseconds: handing it to other threads costs more than it saves
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is raised; the runtime's own lines on stderr say it twice
        try:
            self._session = ort.InferenceSession(release.forest, options, providers=["CPUExecutionProvider"])
            actual = self.probabilities(release.golden_rows)
        except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
            reason = str(error).splitlines()[0][:200]
            raise ReleaseError(f"release {release.model_version} has a forest that can't be run: {reason}") from error
        expected = release.golden_probabilities
        if actual.shape != expected.shape or not np.abs(actual - expected).max() <= TOLERANCE:
            raise ReleaseError(
                f"release {release.model_version} gives other probabilities than its golden rows must have"
            )

    @property
    def model_version(self) -> str:
        return self.release.model_version

    @property
    def schema(self) -> Schema:
        return self.release.schema

    def probabilities(self, rows: Matrix) -> Matrix:
        """Rows of shape (n, features), float64 → probabilities of shape (n, classes), float64, seven decimals."""
        # float64 → float32 → float64: the trees compare the float32 value with thresholds in float64
        scaled = ((rows - self._mean) / self._scale).astype(np.float32).astype(np.float64)
        (raw,) = self._session.run(["probabilities"], {"features": scaled})
        rounded: Matrix = np.round(raw.astype(np.float64), DECIMALS)
        return rounded
