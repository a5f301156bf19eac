"""The predictor: exact, verified on golden rows, and free of training libraries."""

import dataclasses
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tabserve.errors import ReleaseError
from tabserve.model import Predictor, Release
from tabserve.model.release import GoldenRows
from tabserve.training import parity
from tests.support.models import Trained
from tests.support.project import PYTHON, ROOT

SERVING = ("model", "inference", "monitoring", "serving", "web", "web.app", "settings", "log")
TRAINING_LIBRARIES = {"sklearn", "scipy", "pandas", "matplotlib", "joblib", "mlflow"}


def test_row_does_not_depend_on_its_neighbours(trained: Trained, release: Release) -> None:
    """A row gets the same probabilities in a batch, in a batch of its own, and from eight threads at the same time."""
    predictor = Predictor(release)
    rows = parity.probing_rows(trained.pipeline, trained.schema, trained.parts.training, 200, seed=1)
    together = predictor.outputs(rows)
    with ThreadPoolExecutor(8) as pool:
        alone = np.concatenate(list(pool.map(lambda row: predictor.outputs(row[None, :]), rows)))
    assert np.array_equal(together, alone)
    assert np.abs(together.sum(axis=1) - 1).max() < 1e-6


def test_release_with_other_golden_outputs_is_refused(release: Release) -> None:
    """A release whose model gives other outputs for its golden rows than the release says is refused."""
    golden = release.manifest.golden
    wrong = (tuple(reversed(golden.outputs[0])), *golden.outputs[1:])
    manifest = release.manifest.model_copy(update={"golden": GoldenRows(rows=golden.rows, outputs=wrong)})
    with pytest.raises(ReleaseError, match="other outputs"):
        Predictor(dataclasses.replace(release, manifest=manifest))


def test_release_with_an_unreadable_model_is_refused(release: Release) -> None:
    """A release whose model can't be read is refused, and the error names the release."""
    with pytest.raises(ReleaseError, match=r"release \d{8}_\d{6}: the model can't be read"):
        Predictor(dataclasses.replace(release, model=release.model[:-8]))


def test_both_kernels_give_the_same_outputs(trained: Trained, release: Release) -> None:
    """The kernel for one row and the kernel for many rows give the same bits. No rows give no outputs, and rows of
    another width are refused."""
    predictor = Predictor(release)
    rows = parity.probing_rows(trained.pipeline, trained.schema, trained.parts.training, 200, seed=2)
    assert [predictor.row_outputs(row)[0] for row in rows.tolist()] == predictor.outputs(rows).tolist()
    assert predictor.outputs(rows[:0]).shape == (0, 3)
    with pytest.raises(ValueError, match="4 features"):
        predictor.outputs(rows[:, :3])


def test_serving_packages_import_no_training_library() -> None:
    """Importing all serving packages in a new interpreter imports no scikit-learn, pandas, matplotlib or MLflow."""
    imports = "; ".join(f"import tabserve.{package}" for package in SERVING)
    code = f"{imports}; import sys; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run([PYTHON, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert "llvmlite" in loaded
    assert not TRAINING_LIBRARIES & set(loaded)


LOAD_IN_THREADS = """
import sys, threading
import llvmlite.binding as llvm
from pathlib import Path
from tabserve.model import Predictor, release

THREADS = 8
read = release.read(Path(sys.argv[1]))
create_compiler, compilations, predictors = llvm.create_mcjit_compiler, [], []
ready = threading.Barrier(THREADS)

def create_slowly(*arguments):
    compilations.append(None)
    threading.Event().wait(0.1)  # gives the other threads the time to come here too, if nothing stops them
    return create_compiler(*arguments)

def load():
    ready.wait()
    predictors.append(Predictor(read))

llvm.create_mcjit_compiler = create_slowly
threads = [threading.Thread(target=load) for _ in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(predictors) == THREADS
outputs = {tuple(predictor.row_outputs(read.golden_rows[0].tolist())[0]) for predictor in predictors}
assert len(outputs) == 1, outputs
assert len(compilations) == 1, f"compiled {len(compilations)} times"
"""


def test_models_loaded_at_the_same_time_share_one_compilation(trained: Trained, tmp_path: Path) -> None:
    """When several threads load the first models of a process at the same time, the kernels are compiled once. With two
    compilations, the machine code of one would be freed while a model still calls it."""
    trained.release(tmp_path / "release")
    command = [PYTHON, "-c", LOAD_IN_THREADS, str(tmp_path / "release")]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr or process.returncode
