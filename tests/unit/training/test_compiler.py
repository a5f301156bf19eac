"""The compiled forest gives scikit-learn's probabilities to the last bit."""

from pathlib import Path

import numpy as np
import pytest

from tabserve.model import Matrix, Predictor
from tabserve.training import EstimatorConfig, compiler, dataset, fitting, parity, schema_inference
from tabserve.training.estimators.trees import largest_going_left
from tests.support.models import metadata

MAX_FEATURES: tuple[str | float, ...] = (1.0, "sqrt", 0.5)


def rows_on_a_grid(step: float, seed: int) -> Matrix:
    """20,000 rows of four values from -1 to 9 that are whole multiples of `step`, as people write them."""
    steps = np.random.default_rng(seed).integers(round(-1 / step), round(9 / step) + 1, (20_000, 4))
    return np.asarray(np.round(steps * step, 2), dtype=np.float64)


@pytest.mark.parametrize("seed", range(10))
def test_compiled_forest_is_equal_to_scikit_learn_in_every_bit(seed: int, tmp_path: Path) -> None:
    """Ten forests of all sizes and kinds compute 200,000 rows near their split points, on the grids of 0.1 and 0.01 and
    beyond the ranges: no bit of a probability differs from scikit-learn's, and so no class, ties included."""
    rng = np.random.default_rng(seed)
    hyperparameters = {
        "n_estimators": [1, 2, 7, 30, 100, 300][rng.integers(6)],
        "max_depth": [None, 1, 2, 5][rng.integers(4)],
        "min_samples_leaf": int(rng.integers(1, 6)),
        "max_features": MAX_FEATURES[rng.integers(3)],
        "criterion": ["gini", "entropy"][rng.integers(2)],
        "class_weight": [None, "balanced"][rng.integers(2)],
    }
    training = dataset.split(dataset.load_iris(), 0.2, seed).training
    pipeline = fitting.fit(training, EstimatorConfig("random-forest", hyperparameters), seed)
    schema = schema_inference.infer_schema(training, pipeline)
    release = compiler.write_release(tmp_path / "release", pipeline, schema, training, metadata(schema))
    near = parity.probing_rows(pipeline, schema, training, 120_000, seed)
    grids = rows_on_a_grid(0.1, seed), rows_on_a_grid(0.01, seed)
    rows = np.concatenate([near, *grids, rng.uniform(-20, 30, (40_000, 4))])
    outputs = Predictor(release).outputs(rows)
    assert outputs.tobytes() == parity.expected_outputs(pipeline, schema, rows).tobytes(), hyperparameters
    assert np.abs(outputs.sum(axis=1) - 1).max() < 1e-6
    assert parity.check_parity(pipeline, schema, rows, outputs) == 0


def test_cut_is_the_largest_value_that_goes_left() -> None:
    """For any mean, scale and threshold: the cut still goes left as scikit-learn scales and rounds it, and the next
    double goes right."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        mean, scale = float(rng.normal(0, 10.0 ** rng.integers(-5, 6))), float(10.0 ** rng.uniform(-5, 5))
        thresholds = rng.normal(0, 10.0 ** rng.integers(-3, 4), 50).astype(np.float32).astype(np.float64)
        thresholds[:10] += rng.normal(0, 1e-9, 10)  # between two float32
        thresholds[10] = 0.0
        for rounds in (True, False):
            cuts = largest_going_left(thresholds, mean, scale, rounds_to_float32=rounds)
            for values, go_left in ((cuts, True), (np.nextafter(cuts, np.inf), False)):
                scaled = (values - mean) / scale
                compared = scaled.astype(np.float32).astype(np.float64) if rounds else scaled
                assert ((compared <= thresholds) == go_left).all()
