"""The predictor: exact, verified, and free of the training wing."""

import dataclasses
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tabserve.errors import ReleaseError
from tabserve.model.predictor import Predictor
from tabserve.model.release import GoldenRows, Release
from tabserve.training import parity
from tests.support.models import Trained
from tests.support.project import PYTHON, ROOT

SERVING = ("model", "inference", "monitoring", "serving", "web", "web.app", "settings", "log")
TRAINING_ONLY = {"sklearn", "scipy", "pandas", "matplotlib", "joblib", "mlflow"}


def test_a_row_does_not_depend_on_its_neighbours(trained: Trained, release: Release) -> None:
    """A row alone, in a batch, and asked from eight threads at once gets the same probabilities."""
    predictor = Predictor(release)
    rows = parity.probing_rows(trained.pipeline, trained.schema, trained.parts.training, 200, seed=1)
    together = predictor.outputs(rows)
    with ThreadPoolExecutor(8) as pool:
        alone = np.concatenate(list(pool.map(lambda row: predictor.outputs(row[None, :]), rows)))
    assert np.array_equal(together, alone)
    assert np.abs(together.sum(axis=1) - 1).max() < 1e-6


def test_other_golden_outputs_are_refused(release: Release) -> None:
    """A release whose forest gives other probabilities than its golden rows must have is refused."""
    golden = release.manifest.golden
    wrong = (tuple(reversed(golden.outputs[0])), *golden.outputs[1:])
    manifest = release.manifest.model_copy(update={"golden": GoldenRows(rows=golden.rows, outputs=wrong)})
    with pytest.raises(ReleaseError, match="other outputs"):
        Predictor(dataclasses.replace(release, manifest=manifest))


def test_a_forest_that_is_none_is_refused(release: Release) -> None:
    """A release whose forest can't be read is refused, and the release is named."""
    with pytest.raises(ReleaseError, match=r"release \d{8}_\d{6}: the model can't be read"):
        Predictor(dataclasses.replace(release, model=release.model[:-8]))


def test_a_row_alone_is_answered_the_same(trained: Trained, release: Release) -> None:
    """The way of a single row and that of many give the same bits."""
    predictor = Predictor(release)
    rows = parity.probing_rows(trained.pipeline, trained.schema, trained.parts.training, 200, seed=2)
    assert [predictor.row_outputs(row)[0] for row in rows.tolist()] == predictor.outputs(rows).tolist()
    assert predictor.outputs(rows[:0]).shape == (0, 3)
    with pytest.raises(ValueError, match="4 features"):
        predictor.outputs(rows[:, :3])


def test_the_training_wing_stays_out_of_the_serving_process() -> None:
    """Importing all serving rooms in a fresh interpreter brings in no scikit-learn, pandas, matplotlib or MLflow."""
    imports = "; ".join(f"import tabserve.{package}" for package in SERVING)
    code = f"{imports}; import sys; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run([PYTHON, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert "llvmlite" in loaded
    assert not TRAINING_ONLY & set(loaded)


AT_ONCE = """
import sys, threading
import llvmlite.binding as llvm
from pathlib import Path
from tabserve.model import release
from tabserve.model.predictor import Predictor

made = release.read(Path(sys.argv[1]))
compile_it, compiled = llvm.create_mcjit_compiler, []
ready = threading.Barrier(8)

def slowly(*arguments):
    compiled.append(None)
    threading.Event().wait(0.1)  # so that others come meanwhile
    return compile_it(*arguments)

def load():
    ready.wait()
    loaded.append(Predictor(made))

loaded = []
llvm.create_mcjit_compiler = slowly
threads = [threading.Thread(target=load) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(loaded) == 8
answers = {tuple(one.answer(made.golden_rows[0].tolist())[0]) for one in loaded}
assert len(answers) == 1, answers
assert len(compiled) == 1, f"compiled {len(compiled)} times"
"""


def test_what_is_compiled_at_once_is_compiled_once(trained: Trained, tmp_path: Path) -> None:
    """Models that are loaded by several threads at once, when nothing is compiled yet, share what the first compiles:
    machine code that a second one replaced would be gone while somebody runs it."""
    trained.release(tmp_path / "release")
    command = [PYTHON, "-c", AT_ONCE, str(tmp_path / "release")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr or done.returncode
