"""The predictor: exact, verified, and free of the training wing."""

import dataclasses
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from classifier import export
from classifier.errors import ReleaseError
from classifier.predictor import Predictor
from classifier.release import Golden, Release
from tests.conftest import PYTHON, ROOT, Trained

SERVING = ("service", "predictor", "history", "metrics", "release", "schema", "record", "settings", "logs", "web.app")
TRAINING_ONLY = {"sklearn", "skl2onnx", "onnx", "pandas", "matplotlib", "joblib", "mlflow"}


def test_a_row_does_not_depend_on_its_neighbours(trained: Trained, release: Release) -> None:
    """A row alone, in a batch, and asked from eight threads at once gets the same probabilities."""
    predictor = Predictor(release)
    rows = export.probing_rows(trained.pipeline, trained.parts.training, 200, seed=1)
    together = predictor.probabilities(rows)
    with ThreadPoolExecutor(8) as pool:
        alone = np.concatenate(list(pool.map(lambda row: predictor.probabilities(row[None, :]), rows)))
    assert np.array_equal(together, alone)
    assert np.abs(together.sum(axis=1) - 1).max() < 1e-6


def test_shares_of_trees_are_written_as_they_are(release: Release) -> None:
    """A probability that is a share of trees comes out as that number, without the digits of float32."""
    row = np.array([[5.9, 2.8, 4.9, 1.7]])
    assert all(len(repr(value)) <= 9 for value in Predictor(release).probabilities(row)[0].tolist())


def test_other_golden_probabilities_are_refused(release: Release) -> None:
    """A release whose forest gives other probabilities than its golden rows must have is refused."""
    golden = release.manifest.golden
    wrong = (tuple(reversed(golden.probabilities[0])), *golden.probabilities[1:])
    manifest = release.manifest.model_copy(update={"golden": Golden(rows=golden.rows, probabilities=wrong)})
    with pytest.raises(ReleaseError, match="other probabilities"):
        Predictor(dataclasses.replace(release, manifest=manifest))


@pytest.mark.parametrize("forest", [b"", b"\x80\x04K\x01.", b"x" * 1000])
def test_a_forest_that_is_none_is_refused(release: Release, forest: bytes) -> None:
    """Bytes that are no ONNX forest are refused in the domain's words."""
    with pytest.raises(ReleaseError, match="can't be run"):
        Predictor(dataclasses.replace(release, forest=forest))


def test_a_truncated_forest_is_refused(release: Release) -> None:
    """A forest that was cut short is refused wherever it was cut."""
    for cut in range(1, 10):
        with pytest.raises(ReleaseError):
            Predictor(dataclasses.replace(release, forest=release.forest[: len(release.forest) * cut // 10]))


def test_the_training_wing_stays_out_of_the_serving_process() -> None:
    """Importing all serving rooms in a fresh interpreter brings in no scikit-learn, pandas, matplotlib or MLflow."""
    imports = "; ".join(f"import classifier.{room}" for room in SERVING)
    code = f"{imports}; import sys; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run([PYTHON, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert "onnxruntime" in loaded
    assert not TRAINING_ONLY & set(loaded)
