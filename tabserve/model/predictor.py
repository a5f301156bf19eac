"""A release in memory: rows in, probabilities out. The only door to LLVM, which compiles `kernels.ll`.

Knows compiled models; does not know requests, versions in a registry, or who asks.
"""

import ctypes
import functools
import math
import struct
import threading
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any, Literal

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import NDArray

from tabserve.errors import ReleaseError
from tabserve.model import compiled
from tabserve.model.compiled import Forest
from tabserve.model.release import TOLERANCE, Release
from tabserve.model.schema import Matrix

Compute = Callable[[int, Any, int, Any], None]


class _Model(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("nodes", "roots", "leaves")),
        *((name, ctypes.c_int64) for name in ("trees", "classes", "features")),
        *((name, ctypes.c_void_p) for name in ("inputs", "places")),
        ("columns", ctypes.c_int64),
        ("start", ctypes.c_void_p),
        ("divisor", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("mean", "scale", "weights", "lows", "highs")),
    )


_compiling = threading.Lock()
"""A start may load two models at once, and what both compiled would be kept of one only: the other would run on in
memory that is nobody's any more."""


def _compiled(kind: Literal["forest", "linear"]) -> tuple[Compute, Compute]:
    """What computes such a model for one row, and for many.

    The first keeps Python's lock: for a microsecond, giving it up costs more, and whoever took it would keep it for
    thousands. The second gives it up.
    """
    with _compiling:
        one, many = (_engine().get_function_address(name) for name in (f"{kind}_one", kind))
    types = (None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
    return ctypes.PYFUNCTYPE(*types)(one), ctypes.CFUNCTYPE(*types)(many)


@functools.cache  # it must live as long as what it compiled
def _engine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(files("tabserve.model").joinpath("kernels.ll").read_text(encoding="utf-8"))
    module.verify()
    features = llvm.get_host_cpu_features().flatten()
    machine = llvm.Target.from_default_triple().create_target_machine(llvm.get_host_cpu_name(), features, opt=3)
    # LLVM's other passes make the walk 5 to 10 % faster, and a start 50 to 150 ms longer
    inliner = llvm.create_new_module_pass_manager()
    inliner.add_always_inliner_pass()
    inliner.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


class Predictor:
    """Computes what the release's scikit-learn model would, to the last bit. Safe for threads."""

    def __init__(self, release: Release) -> None:
        """Reads the model and holds it to its golden rows.

        Raises:
            ReleaseError: the model can't be computed, or gives other probabilities than it must.
        """
        self.release = release
        self.model_version, self.schema = release.model_version, release.schema
        self.feature_names = release.schema.feature_names
        features, classes = len(release.schema.features), len(release.schema.classes)
        try:
            self.compiled = model = compiled.read(release.model, release.schema.features, classes)
        except ReleaseError as error:
            raise ReleaseError(f"release {release.model_version}: {error}") from error
        seen = self.schema.seen
        arrays: dict[str, NDArray[Any]] = {"start": model.start, "lows": seen.lowest, "highs": seen.highest}
        numbers: dict[str, float] = {"classes": classes, "features": features, "columns": model.inputs.width}
        if not model.inputs.are_plain:
            arrays |= {"inputs": model.inputs.features, "places": model.inputs.places}
        if isinstance(model, Forest):
            arrays |= {"nodes": model.nodes, "roots": model.roots, "leaves": model.leaves}
            numbers |= {"trees": len(model.roots), "divisor": len(model.roots) if release.link == "mean" else 1}
        else:
            arrays |= {"mean": model.mean, "scale": model.scale, "weights": model.weights}
        self._model = _Model(**numbers, **{name: array.ctypes.data for name, array in arrays.items()})
        self._at = ctypes.addressof(self._model)
        self._pack, self._shares = struct.Struct(f"{features}d").pack, ctypes.c_double * (classes + 1)
        self._one, self._many = _compiled("forest" if isinstance(model, Forest) else "linear")
        self._softmax = release.link == "softmax"
        expected = release.golden_probabilities
        actual = self.probabilities(release.golden_rows)
        if actual.shape != expected.shape or not np.abs(actual - expected).max() <= TOLERANCE[release.link]:
            raise ReleaseError(
                f"release {release.model_version} gives other probabilities than its golden rows must have"
            )

    def answer(self, row: Sequence[float]) -> tuple[list[float], bool]:
        """One row as `Schema.row` makes it → one probability a class, and whether `Schema.warnings` has something to
        say of it."""
        out = self._shares()
        self._one(self._at, self._pack(*row), 1, out)  # a third of the time that ctypes takes
        *shares, unlike_training = out
        return _softmax(shares) if self._softmax else shares, unlike_training > 0

    def probabilities(self, rows: Matrix) -> Matrix:
        """Rows of shape (n, features) → probabilities of shape (n, classes), float64. Other threads run on."""
        rows = np.ascontiguousarray(rows, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self._model.features:
            raise ValueError(f"rows of shape {rows.shape} are not of {self._model.features} features")
        shares = np.empty((len(rows), self._model.classes))
        if len(rows):
            self._many(self._at, rows.ctypes.data, len(rows), shares.ctypes.data)
        if self._softmax:
            shares -= shares.max(axis=1, keepdims=True, initial=-np.inf)
            np.exp(shares, out=shares)
            shares /= shares.sum(axis=1, keepdims=True)
        return shares


def _softmax(sums: list[float]) -> list[float]:
    largest = max(sums)
    powers = [math.exp(one - largest) for one in sums]
    whole = sum(powers)
    return [power / whole for power in powers]
