"""The compiled forest says what scikit-learn says, or isn't published."""

from pathlib import Path

import numpy as np
import pytest

from tabserve.errors import ParityError
from tabserve.model import release
from tabserve.model.arrays import Matrix
from tabserve.model.predictor import Predictor
from tabserve.training import compiler, dataset, fitting
from tabserve.training.config import EstimatorConfig
from tests.support.models import Trained, metadata

SHARES: tuple[str | float, ...] = (1.0, "sqrt", 0.5)


def grid(step: float, seed: int) -> Matrix:
    """20,000 rows of four values from -1 to 9 that are whole multiples of `step`, as people write them."""
    steps = np.random.default_rng(seed).integers(round(-1 / step), round(9 / step) + 1, (20_000, 4))
    return np.asarray(np.round(steps * step, 2), dtype=np.float64)


@pytest.mark.parametrize("seed", range(10))
def test_the_compiled_forest_is_scikit_learns(seed: int, tmp_path: Path) -> None:
    """Ten forests of all sizes and kinds answer 200,000 rows near their split points, on the grids of 0.1 and 0.01 and
    beyond the ranges just as scikit-learn does: no bit of a probability and so no class differs, ties included."""
    rng = np.random.default_rng(seed)
    given = {
        "n_estimators": [1, 2, 7, 30, 100, 300][rng.integers(6)],
        "max_depth": [None, 1, 2, 5][rng.integers(4)],
        "min_samples_leaf": int(rng.integers(1, 6)),
        "max_features": SHARES[rng.integers(3)],
        "criterion": ["gini", "entropy"][rng.integers(2)],
        "class_weight": [None, "balanced"][rng.integers(2)],
    }
    parts = dataset.split(dataset.load_iris(), 0.2, seed)
    pipeline = fitting.fit(parts.training, EstimatorConfig("random-forest", given), seed)
    schema = fitting.infer_schema(pipeline, parts.training)
    made = compiler.write_release(tmp_path / "release", pipeline, schema, parts.training, metadata(schema))
    near = compiler.probing_rows(pipeline, schema, parts.training, 120_000, seed)
    rows = np.concatenate([near, grid(0.1, seed), grid(0.01, seed), rng.uniform(-20, 30, (40_000, 4))])
    answers = Predictor(made).outputs(rows)
    assert answers.tobytes() == compiler.expected_probabilities(pipeline, schema, rows).tobytes(), given
    assert np.abs(answers.sum(axis=1) - 1).max() < 1e-6
    assert compiler.check_parity(pipeline, schema, rows, answers) == 0


def test_a_cut_is_the_last_value_that_goes_left() -> None:
    """Whatever mean, scale and threshold: the cut still goes left as scikit-learn scales and rounds it, and the next
    double goes right."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        mean, scale = float(rng.normal(0, 10.0 ** rng.integers(-5, 6))), float(10.0 ** rng.uniform(-5, 5))
        thresholds = rng.normal(0, 10.0 ** rng.integers(-3, 4), 50).astype(np.float32).astype(np.float64)
        thresholds[:10] += rng.normal(0, 1e-9, 10)  # they lie between two float32
        thresholds[10] = 0.0
        cuts = compiler._cuts(thresholds, mean, scale)

        def goes_left(values: Matrix, mean: float = mean, scale: float = scale, at: Matrix = thresholds) -> Matrix:
            return np.asarray(((values - mean) / scale).astype(np.float32).astype(np.float64) <= at)

        assert goes_left(cuts).all()
        assert not goes_left(np.nextafter(cuts, np.inf)).any()


def test_probing_rows_find_a_wrong_rounding(trained: Trained, release: release.Release) -> None:
    """The rows are hard enough: an engine that rounds values to float32 before it scales them fails on them."""
    rows = compiler.probing_rows(trained.pipeline, trained.schema, trained.parts.training, compiler.PARITY_ROWS, seed=0)
    wrong = Predictor(release).outputs(rows.astype(np.float32).astype(np.float64))
    with pytest.raises(ParityError, match=r"differs from scikit-learn.*Nothing was published"):
        compiler.check_parity(trained.pipeline, trained.schema, rows, wrong)


@pytest.mark.parametrize("change", [2e-7, np.nan])
def test_a_small_difference_is_found(trained: Trained, change: float) -> None:
    """A single probability that is off by twice the tolerance, or isn't a number, fails the check."""
    rows = compiler.probing_rows(trained.pipeline, trained.schema, trained.parts.training, 100, seed=0)
    answers = compiler.expected_probabilities(trained.pipeline, trained.schema, rows)
    assert compiler.check_parity(trained.pipeline, trained.schema, rows, answers) == 0
    answers[57, 1] += change
    with pytest.raises(ParityError):
        compiler.check_parity(trained.pipeline, trained.schema, rows, answers)


def test_another_class_is_found(trained: Trained) -> None:
    """A class that differs fails the check."""
    rows = compiler.probing_rows(trained.pipeline, trained.schema, trained.parts.training, 100, seed=0)
    answers = compiler.expected_probabilities(trained.pipeline, trained.schema, rows)
    with pytest.raises(ParityError, match=r"[1-9]\d* of 100 classes"):
        compiler.check_parity(trained.pipeline, trained.schema, rows, answers[:, [1, 0, 2]])
