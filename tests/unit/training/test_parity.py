"""A compiled model that differs from scikit-learn is not published."""

import numpy as np
import pytest

from tabserve.errors import ParityError
from tabserve.model import Predictor, Release
from tabserve.training import parity
from tests.support.models import Trained


def test_probing_rows_show_a_wrong_rounding(trained: Trained, release: Release) -> None:
    """The rows are hard enough: a model that rounds values to float32 before it scales them fails on them."""
    rows = parity.probing_rows(trained.pipeline, trained.schema, trained.parts.training, parity.PARITY_ROWS, seed=0)
    wrong = Predictor(release).outputs(rows.astype(np.float32).astype(np.float64))
    with pytest.raises(ParityError, match=r"differs from scikit-learn.*Nothing was published"):
        parity.check_parity(trained.pipeline, trained.schema, rows, wrong)


def test_proof_of_a_good_release_says_how_close_it_is(trained: Trained, release: Release) -> None:
    """A release of a forest is equal to its pipeline to the last bit, and the proof says so."""
    proof = parity.prove_parity(release, trained.pipeline, trained.parts.training, seed=0)
    assert str(proof) == "equal to scikit-learn on 2000 rows, to the last bit"


@pytest.mark.parametrize("change", [2e-7, np.nan])
def test_single_wrong_probability_is_found(trained: Trained, change: float) -> None:
    """A single probability that is off by twice the tolerance, or NaN, fails the check."""
    rows = parity.probing_rows(trained.pipeline, trained.schema, trained.parts.training, 100, seed=0)
    outputs = parity.expected_outputs(trained.pipeline, trained.schema, rows)
    assert parity.check_parity(trained.pipeline, trained.schema, rows, outputs) == 0
    outputs[57, 1] += change
    with pytest.raises(ParityError):
        parity.check_parity(trained.pipeline, trained.schema, rows, outputs)


def test_changed_prediction_is_found(trained: Trained) -> None:
    """Predictions that differ fail the check, and the message counts them."""
    rows = parity.probing_rows(trained.pipeline, trained.schema, trained.parts.training, 100, seed=0)
    outputs = parity.expected_outputs(trained.pipeline, trained.schema, rows)
    with pytest.raises(ParityError, match=r"in [1-9]\d* of 100 predictions"):
        parity.check_parity(trained.pipeline, trained.schema, rows, outputs[:, [1, 0, 2]])
