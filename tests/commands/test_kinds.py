"""A table with every kind of column, through the commands: trained, served, checked, and logged to MLflow."""

import json
import re
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
import requests

from tests.support.client import status
from tests.support.servers import serving
from tests.support.waiting import LIMIT, until
from tests.support.workspaces import Workspace

ROWS = 200


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with the table rides.csv, in which the hour tells the class."""
    rng = np.random.default_rng(0)
    started = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300 * 24, ROWS), "h")
    pd.DataFrame(
        {
            "started": started.strftime("%Y-%m-%dT%H:%M:%S"),
            "booked": (started - pd.Timedelta(days=3)).strftime("%d.%m.%Y"),
            "paid": (started + pd.Timedelta(days=2)).strftime("%Y%m%d"),
            "birth": [f"{row % 28 + 1} May {1950 + row % 50}" for row in range(ROWS)],
            "shift": rng.choice(["6:00", "14:30", "22:15"], ROWS),
            "fare": [f"${fare:,.2f}" for fare in rng.uniform(5, 4000, ROWS)],
            "tip": [f"{tip} %" for tip in rng.integers(0, 30, ROWS)],
            "shared": rng.choice(["true", "false", ""], ROWS),
            "zip": [f"{code:05}" for code in rng.choice([1234, 99, 80331], ROWS)],
            "remark": [f"remark number {row}" for row in range(ROWS)],
            "kind": np.where(started.hour >= 12, "late", "early"),
        }
    ).to_csv(tmp_path / "rides.csv", index=False)
    return Workspace(tmp_path, model_name="rides")


def test_table_of_every_kind_becomes_a_checked_service(workspace: Workspace) -> None:
    """The training says what is made of each column, the served model passes every check, and it predicts by the hour
    of a date."""
    trained = workspace.run("train_model.py", "--data", "rides.csv", "--target", "kind", "--n-estimators", "20")
    assert trained.returncode == 0, trained.stderr
    for line in (
        r"^  started +date; 2024-01-01T",
        r"^  booked +date: day first; ",
        r"^  paid +date: \d{8} is \d{4}-\d\d-\d\d; ",
        r"^  birth +date; ",
        r"^  shift +duration: in seconds, ",
        r"^  fare +number: \$[\d,.]+ is [\d.]+",
        r"^  zip +code: with leading zeros; ",
        r"^1 column of text is not used: remark$",
        r"^note: 'started' is a date: --split-by 'started' ",
    ):
        assert re.search(line, trained.stdout, re.MULTILINE), line
    with serving(workspace) as (url, _):
        until(lambda: status(f"{url}/readyz") == 200)
        done = workspace.run("test_api.py", "--no-server", "--url", url)
        assert done.returncode == 0, done.stdout
        row = {
            "booked": "2024-06-01",
            "paid": "2024-06-03",
            "birth": "1980-05-03",
            "shift": 52_200,
            "fare": 12.5,
            "tip": 10,
            "shared": True,
            "zip": "00099",
        }
        for hour, label in ((3, "early"), (20, "late")):
            sent = row | {"started": f"2024-06-04T{hour:02}:30:00"}
            assert requests.post(f"{url}/predict", json=sent, timeout=LIMIT).json()["label"] == label
        info = requests.get(f"{url}/model/info", timeout=LIMIT).json()
    assert [one["name"] for one in info["columns"] if one["becomes"] == "not used"] == ["remark"]
    card = next(workspace.folder.glob("artifacts/*/model_card.md")).read_text()
    assert "| remark | identifier: different in each row | not used | all of it | `--keep 'remark'` |" in card


def test_logged_pipeline_takes_the_parts_of_dates(workspace: Workspace) -> None:
    """The pipeline in MLflow needs nothing of this package. Its signature names the parts of dates as columns."""
    trained = workspace.run(
        "train_model.py", "--data", "rides.csv", "--target", "kind", "--n-estimators", "5", "--split-by", "started",
        "--drop", "booked", "--folds", "3",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    assert "--split-by" not in trained.stdout
    metadata = json.loads(next(workspace.folder.rglob("manifest.json")).read_text())["metadata"]
    assert metadata["parameters"]["split_by"] == "started"
    (model,) = workspace.folder.glob("mlruns/**/MLmodel")
    with ZipFile(next(model.parent.glob("*.skops"))) as pipeline:
        assert b"tabserve" not in pipeline.read("schema.json")
    names = re.findall(r'"name":\s+"(started[^"]*)"', model.read_text())
    assert names == ["started.month", "started.day", "started.weekday", "started.hour", "started.days"]


def test_options_of_columns_need_a_table(tmp_path: Path) -> None:
    """--dates, --decimal, --keep and --split-by without --data end with status 2 and say what is missing."""
    workspace = Workspace(tmp_path)
    for option in (["--dates", "dmy"], ["--decimal", ","], ["--keep", "x"], ["--split-by", "x"]):
        done = workspace.run("train_model.py", *option)
        assert done.returncode == 2
        assert f"argument {option[0]}: it is about a table; name the table with --data" in done.stderr


def test_classes_that_are_numbers_are_decided_by_a_threshold(tmp_path: Path) -> None:
    """A table with the classes 2 and 10 is trained with a threshold, without a word on stderr. The server gives labels
    that are numbers, and the model passes every check."""
    rng = np.random.default_rng(0)
    size, kind = rng.normal(size=ROWS), rng.choice([2, 10], ROWS)
    pd.DataFrame({"size": size + (kind == 10), "kind": kind}).to_csv(tmp_path / "kinds.csv", index=False)
    workspace = Workspace(tmp_path, model_name="kinds")
    trained = workspace.run(
        "train_model.py", "--data", "kinds.csv", "--target", "kind", "--n-estimators", "10", "--positive", "2",
        "--threshold", "0.2",
    )  # fmt: skip
    assert (trained.returncode, trained.stderr) == (0, "")
    with serving(workspace) as (url, _):
        until(lambda: status(f"{url}/readyz") == 200)
        done = workspace.run("test_api.py", "--no-server", "--url", url)
        assert done.returncode == 0, done.stdout
        for value in (-1.0, 0.0, 0.5, 1.0, 2.0):
            reply = requests.post(f"{url}/predict", json={"size": value}, timeout=LIMIT).json()
            assert reply["label"] == (2 if reply["prediction_proba"][0] >= 0.2 else 10)
            assert reply["label"] in reply["prediction_set"]
        info = requests.get(f"{url}/model/info", timeout=LIMIT).json()
    assert (info["classes"], info["threshold"], info["positive"]) == (["2", "10"], 0.2, "2")
