"""The compiled forest says what scikit-learn says, or isn't published."""

from pathlib import Path

import numpy as np
import pytest

from classifier import data, export, release, training
from classifier.errors import ParityError
from classifier.predictor import Predictor
from tests.conftest import Trained, info


@pytest.mark.parametrize(
    ("options", "seed"),
    [
        (training.ForestOptions(), 42),
        (training.ForestOptions(n_estimators=1), 0),
        (training.ForestOptions(n_estimators=7, max_depth=2), 1),
        (training.ForestOptions(n_estimators=30, min_samples_leaf=5, class_weight="balanced", criterion="entropy"), 2),
        (training.ForestOptions(n_estimators=10, max_features=1.0, min_samples_split=10), 3),
    ],
)
def test_the_compiled_forest_is_scikit_learns(options: training.ForestOptions, seed: int, tmp_path: Path) -> None:
    """Near the trees' split points, on the table, and beyond its ranges: 20,000 rows get scikit-learn's answer."""
    parts = data.split(data.load_iris(), 0.2, seed)
    pipeline = training.fit(parts.training, options, seed)
    schema = training.infer_schema(pipeline, parts.training)
    made = export.write_release(tmp_path / "release", "20260101_000000", pipeline, schema, parts.training, info(schema))
    rows = export.probing_rows(pipeline, parts.training, 20_000, seed)
    assert rows.shape == (20_000, 4)
    assert export.check_parity(pipeline, rows, Predictor(made).probabilities(rows)) <= release.TOLERANCE


def test_probing_rows_find_a_wrong_rounding(trained: Trained, release: release.Release) -> None:
    """The rows are hard enough: an engine that scales in float32 fails on them."""
    rows = export.probing_rows(trained.pipeline, trained.parts.training, export.PARITY_ROWS, seed=0)
    scaled = (rows.astype(np.float32) - release.mean.astype(np.float32)) / release.scale.astype(np.float32)
    wrong = Predictor(release).probabilities(scaled.astype(np.float64) * release.scale + release.mean)
    with pytest.raises(ParityError, match=r"differs from scikit-learn.*Nothing was published"):
        export.check_parity(trained.pipeline, rows, wrong)


@pytest.mark.parametrize("change", [2e-6, np.nan])
def test_a_small_difference_is_found(trained: Trained, change: float) -> None:
    """A single probability that is off by twice the tolerance, or isn't a number, fails the check."""
    rows = export.probing_rows(trained.pipeline, trained.parts.training, 100, seed=0)
    answers = export.expected_probabilities(trained.pipeline, rows)
    assert export.check_parity(trained.pipeline, rows, answers) == 0
    answers[57, 1] += change
    with pytest.raises(ParityError):
        export.check_parity(trained.pipeline, rows, answers)


def test_another_class_is_found(trained: Trained) -> None:
    """A class that differs fails the check unless it was a draw."""
    rows = export.probing_rows(trained.pipeline, trained.parts.training, 100, seed=0)
    answers = export.expected_probabilities(trained.pipeline, rows)
    with pytest.raises(ParityError, match=r"[1-9]\d* of 100 classes"):
        export.check_parity(trained.pipeline, rows, answers[:, [1, 0, 2]])
