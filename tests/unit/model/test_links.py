"""What the kernels make of sums: the softmax and the exponential."""

import dataclasses
import math

import numpy as np
import pytest

from tabserve.model import Matrix, Predictor, Release, Vector
from tabserve.model.compiled import Inputs, Linear, Link
from tabserve.model.release import GoldenRows

CLASSES, COLUMNS = 3, 4


def predictor_of(release: Release, link: Link, weights: Matrix) -> Predictor:
    """The release with a linear model whose sums are the columns times the weights, and this link."""
    model = Linear(Inputs.plain(COLUMNS), np.zeros(CLASSES), np.zeros(COLUMNS), np.ones(COLUMNS), weights)
    uniform = GoldenRows(rows=((0.0,) * COLUMNS,), outputs=((1 / CLASSES if link == "softmax" else 1.0,) * CLASSES,))
    manifest = release.manifest.model_copy(update={"link": link, "golden": uniform})
    return Predictor(dataclasses.replace(release, manifest=manifest, model=model.to_bytes()))


def rows_of(values: Vector) -> Matrix:
    """Rows with a value as their first column, and others of both signs."""
    return np.column_stack([values, -values, np.zeros_like(values), values / 3])


EXPONENTS = np.concatenate([np.random.default_rng(0).uniform(-708, 700, 20_000), np.linspace(-2, 2, 20_001)])


def test_exponential_is_right_to_the_last_bit_but_one(release: Release) -> None:
    """Over the whole range a power differs from that of the C library by at most one unit in the last place."""
    predictor = predictor_of(release, "exp", np.eye(COLUMNS, CLASSES))
    powers = predictor.outputs(rows_of(EXPONENTS))[:, 0]
    expected = np.array([math.exp(value) for value in EXPONENTS.tolist()])
    assert (np.abs(powers - expected) <= np.spacing(expected)).all()
    assert predictor.outputs(np.zeros((1, COLUMNS))).tolist() == [[1.0] * CLASSES]


def test_exponential_overflows_nowhere(release: Release) -> None:
    """Exponents beyond 700 count as 700, and those below -708 give 0."""
    predictor = predictor_of(release, "exp", np.eye(COLUMNS, CLASSES))
    rows = rows_of(np.array([699.0, 701.0, 720.0, 1e9, 1e300]))
    outputs = predictor.outputs(rows)
    assert np.isfinite(outputs).all()
    assert outputs[1:, 0].tolist() == [outputs[1, 0]] * 4
    assert outputs[1, 0] == pytest.approx(math.exp(700), rel=1e-15)
    assert outputs[2:, 1].tolist() == [0.0, 0.0, 0.0]


def test_softmax_follows_its_definition(release: Release) -> None:
    """Probabilities sum to 1, equal sums are equally probable, and far smaller ones are impossible."""
    predictor = predictor_of(release, "softmax", np.eye(COLUMNS, CLASSES))
    sums = rows_of(EXPONENTS / 9)[:, :CLASSES]
    powers = np.exp(sums - sums.max(axis=1, keepdims=True))
    outputs = predictor.outputs(rows_of(EXPONENTS / 9))
    assert np.abs(outputs - powers / powers.sum(axis=1, keepdims=True)).max() < 1e-15
    assert np.abs(outputs.sum(axis=1) - 1).max() < 1e-15
    assert predictor.outputs(np.array([[1e5, -1e5, 1e5, 0.0]])).tolist() == [[0.5, 0.0, 0.5]]


@pytest.mark.parametrize("link", ["softmax", "exp"])
def test_row_alone_gets_the_bits_of_a_batch(link: Link, release: Release) -> None:
    """In batches of any length, too."""
    predictor = predictor_of(release, link, np.random.default_rng(1).normal(size=(COLUMNS, CLASSES)) / 9)
    rows = rows_of(EXPONENTS[:2000])
    together = predictor.outputs(rows).tolist()
    assert [predictor.row_outputs(row)[0] for row in rows.tolist()] == together
    for length in range(1, 18):
        assert predictor.outputs(rows[length : 2 * length]).tolist() == together[length : 2 * length]
