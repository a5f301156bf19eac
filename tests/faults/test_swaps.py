"""Many swaps under constant load: no request is lost, no reply mixes two versions, no old release stays in memory."""

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.load import content, request
from tabserve.model.predictor import Predictor
from tabserve.registry import RELEASE
from tests.support.client import served_version, shows_deployment
from tests.support.load import load
from tests.support.models import Trained
from tests.support.servers import serving
from tests.support.waiting import patient, until
from tests.support.workspaces import Workspace, make_live, prepare, register

SWAPS = 100
MODEL_VERSIONS = ("20260101_000000", "20260101_000001")
TREES = 1500
"""So many that a release which stays in memory is noticed."""

PAUSE = 0.01
"""Seconds between two rounds of requests, in which the store and the swap get the processor."""

TOLERANCE = 10 * 2**20
"""Bytes that memory may grow by between the tenth swap and the last. A release kept at each swap would be three times
as many."""


@pytest.mark.timeout(patient(1800))
def test_hundred_swaps_under_load_lose_no_request_and_mix_no_reply(anywhere: Workspace) -> None:
    """While 32 connections send rows and batches, a hundred swaps fail no request, every reply has the probabilities of
    the version that it names, and memory after the last swap is what it was after the tenth: on a folder, a database
    and a server."""
    prepare(anywhere)
    predictors, numbers = [], []
    for seed, model_version in enumerate(MODEL_VERSIONS):
        release = Trained(TREES, seed).release(anywhere.artifacts / model_version / RELEASE, model_version)
        predictors.append(Predictor(release))
        numbers.append(register(anywhere, model_version, release.checksum))
        assert (SWAPS - 10) * len(release.model) > 3 * TOLERANCE
    drawn = np.random.default_rng(0).uniform((4, 2, 1, 0.1), (8, 4.5, 7, 2.5), (500, 4)).round(1)
    first, second = (predictor.outputs(drawn) for predictor in predictors)
    rows = drawn[(first != second).any(axis=1)]
    assert len(rows) > 100
    names = predictors[0].feature_names
    row_numbers = {
        request("/predict", json.dumps(dict(zip(names, row, strict=True))).encode()): number
        for number, row in enumerate(rows.tolist())
    }
    batch = request("/predict/batch", json.dumps({"columns": dict(zip(names, rows.T.tolist(), strict=True))}).encode())
    expected = {predictor.model_version: predictor.outputs(rows).tolist() for predictor in predictors}
    seen: Counter[tuple[str, str]] = Counter()

    def check(sent: bytes, received: bytes) -> None:
        reply = json.loads(content(received))
        probabilities = expected[reply["model_version"]]
        assert reply["prediction_proba"] == (probabilities if sent == batch else probabilities[row_numbers[sent]])
        seen[reply["model_version"], "batch" if sent == batch else "row"] += 1

    make_live(anywhere, numbers[0])
    with serving(anywhere, TABSERVE_FOLLOW_SECONDS="0.1") as (url, process):
        until(lambda: served_version(url) == MODEL_VERSIONS[0])

        def swap(name: str, number: str) -> int:
            """Makes the version live, waits until it answers, and returns the memory of the server in bytes."""
            make_live(anywhere, number)
            until(lambda: served_version(url) == name)
            answered = seen[name, "row"]
            until(lambda: seen[name, "row"] > answered or bool(sent.lost))
            assert sent.lost == []
            until(lambda: shows_deployment(url, number))
            return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

        with load(url, 32, [*row_numbers, batch], check, PAUSE) as sent:
            memory = [swap(MODEL_VERSIONS[turn % 2], numbers[turn % 2]) for turn in range(1, SWAPS + 1)]
    assert sent.lost == []
    assert set(seen) == {(name, kind) for name in MODEL_VERSIONS for kind in ("row", "batch")}
    assert memory[-1] - memory[9] < TOLERANCE
