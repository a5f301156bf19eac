"""Computes the outputs of a release: rows in, numbers out. The only module that knows LLVM, which compiles
`kernels.ll`.

Knows compiled models. Doesn't know requests, the registry, or callers.
"""

import ctypes
import functools
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Literal

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import NDArray

from tabserve.errors import ReleaseError
from tabserve.model import compiled
from tabserve.model.arrays import Matrix
from tabserve.model.compiled import Forest, Link
from tabserve.model.release import Release

Kernel = Callable[[int, Any, int, Any], None]

LINKS: Mapping[Link, int] = {"mean": 0, "identity": 0, "softmax": 1, "exp": 2}
"""How sums become outputs → what the kernels do besides dividing by the number of trees."""


class _Model(ctypes.Structure):
    """The model as the kernels read it; see `kernels.ll`."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("nodes", "roots", "leaves")),
        *((name, ctypes.c_int64) for name in ("trees", "outputs", "features")),
        *((name, ctypes.c_void_p) for name in ("inputs", "places")),
        ("columns", ctypes.c_int64),
        ("start", ctypes.c_void_p),
        ("divisor", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("mean", "scale", "weights", "lows", "highs", "values")),
        *((name, ctypes.c_int64) for name in ("input_count", "link")),
    )


_compiling = threading.Lock()
"""A start may load two models at the same time. Without the lock both would compile, only one engine would be cached,
and the other model would call code whose memory has been freed."""


def _kernels(kind: Literal["forest", "linear"]) -> tuple[Kernel, Kernel]:
    """The kernel for one row and the kernel for many.

    The first keeps the GIL: it runs for a microsecond, releasing the GIL costs more, and the thread that takes it would
    keep it for thousands. The second releases it.
    """
    with _compiling:
        one, many = (_engine().get_function_address(name) for name in (f"{kind}_one", kind))
    types = (None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
    return ctypes.PYFUNCTYPE(*types)(one), ctypes.CFUNCTYPE(*types)(many)


@functools.cache  # the engine must live as long as the code that it compiled
def _engine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(files("tabserve.model").joinpath("kernels.ll").read_text(encoding="utf-8"))
    module.verify()
    features = llvm.get_host_cpu_features().flatten()
    machine = llvm.Target.from_default_triple().create_target_machine(llvm.get_host_cpu_name(), features, opt=3)
    # LLVM's other passes make the walk 5 to 10 % faster, and the start 50 to 150 ms slower
    inliner = llvm.create_new_module_pass_manager()
    inliner.add_always_inliner_pass()
    inliner.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


class Predictor:
    """Computes what the release's scikit-learn model would: averaged trees to the last bit, the others within
    `Release.tolerance`. Thread-safe."""

    def __init__(self, release: Release) -> None:
        """Reads the model and checks it on its golden rows.

        Raises:
            ReleaseError: the model can't be computed, or its outputs differ from the golden ones.
        """
        self.release = release
        self.model_version, self.schema = release.model_version, release.schema
        self.feature_names = release.schema.feature_names
        features, outputs = len(release.schema.model_features), release.schema.task.outputs
        try:
            self.compiled = model = compiled.read(release.model, release.schema.model_features, outputs)
        except ReleaseError as error:
            raise ReleaseError(f"release {release.model_version}: {error}") from error
        bounds = self.schema.training_bounds
        arrays: dict[str, NDArray[Any]] = {"start": model.start, "lows": bounds.lowest, "highs": bounds.highest}
        numbers: dict[str, float] = {"outputs": outputs, "features": features, "columns": model.inputs.width}
        numbers["link"] = LINKS[release.link]
        if not model.inputs.are_plain(features):
            inputs = model.inputs
            arrays |= {"inputs": inputs.features, "places": inputs.places, "values": inputs.values}
            numbers["input_count"] = len(inputs.features)
        if isinstance(model, Forest):
            arrays |= {"nodes": model.nodes, "roots": model.roots, "leaves": model.leaves}
            numbers |= {"trees": len(model.roots), "divisor": len(model.roots) if release.link == "mean" else 1}
        else:
            arrays |= {"mean": model.mean, "scale": model.scale, "weights": model.weights}
        self._model = _Model(**numbers, **{name: array.ctypes.data for name, array in arrays.items()})
        self._address = ctypes.addressof(self._model)
        self._pack, self._row_outputs = struct.Struct(f"{features}d").pack, ctypes.c_double * (outputs + 1)
        self._one, self._many = _kernels("forest" if isinstance(model, Forest) else "linear")
        expected = release.golden_outputs
        actual = self.outputs(release.golden_rows)
        if actual.shape != expected.shape or not np.abs(actual - expected).max() <= release.tolerance:
            raise ReleaseError(f"release {release.model_version} gives other outputs for its golden rows than it must")

    def row_outputs(self, row: Sequence[float]) -> tuple[list[float], bool]:
        """The outputs for one row, which is as `Schema.row` makes it; and whether `Schema.warnings` has any for it."""
        buffer = self._row_outputs()
        self._one(self._address, self._pack(*row), 1, buffer)  # packing takes a third of the time of a ctypes array
        *outputs, is_outside_training = buffer
        return outputs, is_outside_training > 0

    def outputs(self, rows: Matrix) -> Matrix:
        """The outputs for many rows: shape (rows, features) → (rows, outputs), float64. Releases the GIL."""
        rows = np.ascontiguousarray(rows, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self._model.features:
            raise ValueError(f"rows of shape {rows.shape} do not have {self._model.features} features")
        outputs = np.empty((len(rows), self._model.outputs))
        if len(rows):
            self._many(self._address, rows.ctypes.data, len(rows), outputs.ctypes.data)
        return outputs
