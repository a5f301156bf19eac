"""The challenger over HTTP: which callers it answers, and what `/model/info` and `/metrics` show of it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
import requests
from starlette.testclient import TestClient

from tabserve.model import Predictor, Release
from tabserve.web.app import create_app
from tests.support.client import served_version
from tests.support.models import ROW, SETTINGS, Trained
from tests.support.servers import serving
from tests.support.sources import FakeSource
from tests.support.waiting import LIMIT, until
from tests.support.workspaces import Workspace


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Another model, which gives other answers."""
    return Trained(trees=3, seed=5).release(tmp_path_factory.mktemp("candidate") / "release", "20260103_000000")


def test_challenger_that_fails_to_answer_is_dropped(
    release: Release, candidate: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the challenger fails to answer a caller, the champion answers this caller and all others, and /model/info says
    why. Another challenger may answer again."""
    source = FakeSource(release)
    source.candidate = candidate
    everyone = SETTINGS.model_copy(update={"challenger_share": 1.0})
    row_outputs = Predictor.row_outputs

    def fail(self: Predictor, row: Sequence[float]) -> tuple[list[float], bool]:
        if self.model_version == candidate.model_version:
            raise ZeroDivisionError("by zero")
        return row_outputs(self, row)

    with TestClient(create_app(everyone, source)) as client:

        def challenger() -> Any:
            return client.get("/model/info").json()["challenger"] or {}

        def answering_version() -> Any:
            return client.post("/predict", json=ROW, headers={"X-Caller-Key": "me"}).json()["model_version"]

        until(lambda: client.get("/readyz").status_code == 200 and challenger().get("share") == 1.0)
        assert answering_version() == candidate.model_version
        monkeypatch.setattr(Predictor, "row_outputs", fail)
        for _ in range(3):
            assert answering_version() == release.model_version
        until(lambda: challenger()["since"] is None)  # it is unloaded, too
        assert challenger()["reason"] == "it failed to answer: ZeroDivisionError('by zero')"
        assert challenger()["share"] == 0.0
        monkeypatch.setattr(Predictor, "row_outputs", row_outputs)
        source.candidate = dataclasses.replace(candidate, checksum="another")
        until(lambda: challenger()["share"] == 1.0)
        assert client.get("/health").json()["status"] == "healthy"


def test_challenger_is_marked_and_unmarked_while_a_server_runs(workspace: Workspace) -> None:
    """A challenger that is marked answers its share of the callers, on the fast path as on the route, and /model/info
    and /metrics in both formats show the comparison. When it is unmarked, it is gone."""
    (old,) = workspace.versions()
    new = workspace.train("--n-estimators", "3", "--promote", "never")
    with serving(workspace, TABSERVE_CHALLENGER_SHARE="0.5") as (url, _):
        until(lambda: served_version(url) == old)

        def challenger(path: str = "/model/info") -> dict[str, Any]:
            return requests.get(f"{url}{path}", timeout=LIMIT).json()["challenger"] or {}

        assert challenger() == {}
        marked = workspace.run("promote_model.py", "--challenger", new)
        assert marked.returncode == 0, marked.stderr
        until(lambda: challenger().get("share") == 0.5)
        row = {"sepal_length": 6.0, "sepal_width": 2.7, "petal_length": 5.1, "petal_width": 1.6}
        answers: dict[str, set[str]] = {}
        for content_type in ("application/json", "application/json; charset=utf-8"):  # the fast path, and the route
            for number in range(40):
                headers = {"X-Caller-Key": f"caller {number}", "Content-Type": content_type}
                reply = requests.post(f"{url}/predict", json=row, headers=headers, timeout=LIMIT).json()
                answers.setdefault(f"caller {number}", set()).add(reply["model_version"])
        assert all(len(versions) == 1 for versions in answers.values())
        assert set().union(*answers.values()) == {old, new}
        assert requests.post(f"{url}/predict", json=row, timeout=LIMIT).json()["model_version"] == old
        until(lambda: sum(challenger()["compared"]["rows"].values()) == 81)
        assert challenger()["model_version"] == new
        assert challenger("/metrics")["compared"] == challenger()["compared"]
        text = requests.get(f"{url}/metrics/prometheus", timeout=LIMIT).text
        pair = f'challenger="{new}",champion="{old}"'
        assert f"model_shadow_probability_distance_count{{{pair}}} 81.0" in text
        unmarked = workspace.run("promote_model.py", "--no-challenger")
        assert unmarked.returncode == 0, unmarked.stderr
        until(lambda: challenger() == {})
        assert requests.get(f"{url}/health", timeout=LIMIT).json()["status"] == "healthy"
