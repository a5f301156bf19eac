"""The array types that the packages share."""

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
"""Shape (rows, columns), float64."""

Vector = NDArray[np.float64]
"""One column of a matrix, shape (rows,), float64."""
