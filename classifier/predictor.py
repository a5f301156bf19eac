"""A release in memory: rows in, probabilities out. The only door to LLVM, which compiles the walk (`forest.ll`).

Knows forests; does not know requests, versions in a registry, or who asks.
"""

import ctypes
import functools
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from classifier.errors import ReleaseError
from classifier.forest import Forest
from classifier.release import TOLERANCE, Release
from classifier.schema import Matrix

Walk = Callable[[int, Any, int, Any], None]


class _Model(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("nodes", "roots", "leaves")),
        *((name, ctypes.c_int64) for name in ("trees", "classes", "features")),
    )


@functools.cache
def _compiled() -> tuple[Walk, Walk, Any]:
    """The walk for one row, the walk for many, and what must live as long as they do.

    The first keeps Python's lock: for a microsecond, giving it up costs more, and whoever took it would keep it for
    thousands. The second gives it up.
    """
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(files("classifier").joinpath("forest.ll").read_text(encoding="utf-8"))
    module.verify()
    features = llvm.get_host_cpu_features().flatten()
    machine = llvm.Target.from_default_triple().create_target_machine(llvm.get_host_cpu_name(), features, opt=3)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    address = engine.get_function_address("predict")
    types = (None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
    return ctypes.PYFUNCTYPE(*types)(address), ctypes.CFUNCTYPE(*types)(address), engine


class Predictor:
    """Computes what the release's scikit-learn model would, to the last bit. Safe for threads."""

    def __init__(self, release: Release) -> None:
        """Reads the forest and holds it to its golden rows.

        Raises:
            ReleaseError: the forest can't be walked, or gives other probabilities than it must.
        """
        self.release = release
        self.model_version, self.schema = release.model_version, release.schema
        self.feature_names = release.schema.feature_names
        features, classes = len(release.schema.features), len(release.schema.classes)
        try:
            self.forest = forest = Forest.from_bytes(release.forest, features, classes)
        except ReleaseError as error:
            raise ReleaseError(f"release {release.model_version}: {error}") from error
        arrays = (forest.nodes, forest.roots, forest.leaves)
        self._model = _Model(*(array.ctypes.data for array in arrays), len(forest.roots), classes, features)
        self._at = ctypes.addressof(self._model)
        self._row, self._shares = ctypes.c_double * features, ctypes.c_double * classes
        self._one, self._many, _ = _compiled()
        expected = release.golden_probabilities
        actual = self.probabilities(release.golden_rows)
        if actual.shape != expected.shape or not np.abs(actual - expected).max() <= TOLERANCE:
            raise ReleaseError(
                f"release {release.model_version} gives other probabilities than its golden rows must have"
            )

    def answer(self, row: Sequence[float]) -> list[float]:
        """One row, a value a feature → one probability a class."""
        shares = self._shares()
        self._one(self._at, self._row(*row), 1, shares)
        return shares[:]

    def probabilities(self, rows: Matrix) -> Matrix:
        """Rows of shape (n, features), float64 → probabilities of shape (n, classes), float64. Other threads run on."""
        rows = np.ascontiguousarray(rows, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self._model.features:
            raise ValueError(f"rows of shape {rows.shape} are not of {self._model.features} features")
        shares = np.empty((len(rows), self._model.classes))
        if len(rows):
            self._many(self._at, rows.ctypes.data, len(rows), shares.ctypes.data)
        return shares
