"""Each example runs against a real server with a freshly trained model, and does what its header says."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests

from tests.support.client import status
from tests.support.project import PENGUINS, PYTHON, ROOT
from tests.support.servers import serving
from tests.support.waiting import LIMIT, LONG_LIMIT, until
from tests.support.workspaces import Workspace

EXAMPLES = ROOT / "examples"
IRIS_FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")


@pytest.fixture(scope="module")
def url(trained_once: Workspace) -> Iterator[str]:
    """The address of a server with a model of Iris."""
    with serving(trained_once) as (url, _):
        until(lambda: status(f"{url}/readyz") == 200)
        yield url


def run_example(name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [PYTHON, str(EXAMPLES / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=LONG_LIMIT, check=False)


def iris_rows(count: int) -> pa.Table:
    values = np.random.default_rng(0).uniform(0.1, 8, (count, 4))
    return pa.table({name: values[:, column] for column, name in enumerate(IRIS_FEATURES)})


def test_every_example_is_tested_and_documented() -> None:
    """Each example has a test here, and its name stands in README.md."""
    tests, readme = Path(__file__).read_text(encoding="utf-8"), (ROOT / "README.md").read_text(encoding="utf-8")
    names = [path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")]
    assert len(names) >= 3
    assert not [name for name in names if f'"{name}"' not in tests or name not in readme]


def test_python_client_predicts_and_shows_a_refusal(url: str) -> None:
    """It prints a prediction, a batch in order, and the field and request id of a refusal."""
    done = run_example("python_client.py", "--url", url)
    assert done.returncode == 0, done.stderr
    assert "one row:   setosa" in done.stdout
    assert "row 0: setosa" in done.stdout
    assert "row 1: virginica" in done.stdout
    assert "a refusal: status 422: sepal_length: " in done.stdout
    assert "(request " in done.stdout


def test_python_client_reports_a_missing_server() -> None:
    """Without a server it ends with one line and status 1."""
    done = run_example("python_client.py", "--url", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stderr.startswith("python_client.py: ")
    assert "Traceback" not in done.stderr


def test_parquet_batch_scores_every_row_in_order(url: str, tmp_path: Path) -> None:
    """The predictions of a file that is sent in several pieces are those of the same rows sent as JSON."""
    rows = iris_rows(25)
    source, target = tmp_path / "rows.parquet", tmp_path / "predictions.parquet"
    pq.write_table(rows.append_column("not_a_feature", pa.array(["x"] * 25)), source)
    done = run_example("parquet_batch.py", str(source), str(target), "--url", url, "--rows", "10")
    assert done.returncode == 0, done.stderr
    reply = requests.post(f"{url}/predict/batch", json={"columns": rows.to_pydict()}, timeout=LIMIT).json()
    predictions = pq.read_table(target)
    for column in ("prediction", "label", "confidence", "prediction_proba"):
        assert predictions[column].to_pylist() == reply[column]
    assert set(predictions["model_version"].to_pylist()) == {reply["model_version"]}
    assert {path.name for path in tmp_path.iterdir()} == {source.name, target.name}


def test_parquet_batch_leaves_no_half_file(url: str, tmp_path: Path) -> None:
    """If a later piece is refused, the example fails with the reason, and no output is left."""
    values = iris_rows(25).to_pydict()
    values["petal_width"][17] = None
    source, target = tmp_path / "rows.parquet", tmp_path / "predictions.parquet"
    pq.write_table(pa.table(values), source)
    done = run_example("parquet_batch.py", str(source), str(target), "--url", url, "--rows", "10")
    assert done.returncode == 1
    assert "row 10 and on are not scored" in done.stderr
    assert "petal_width" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


def test_parquet_batch_scores_categories_and_missing_values(tmp_path: Path) -> None:
    """A model of the penguins takes columns of texts and of whole numbers, dictionary-encoded or with gaps."""
    workspace = Workspace(tmp_path, model_name="penguins")
    workspace.train("--data", str(PENGUINS), "--target", "species", "--n-estimators", "10")
    source, target = tmp_path / "rows.parquet", tmp_path / "predictions.parquet"
    rows = pa.table(
        {
            "island": pa.array(["Biscoe", "Dream", "Biscoe"]).dictionary_encode(),
            "bill_length_mm": [46.1, None, 39.0],
            "bill_depth_mm": [13.2, 18.0, 18.0],
            "flipper_length_mm": [211, 190, None],
            "body_mass_g": [4500, 3500, 3700],
            "sex": ["female", None, "male"],
            "year": [2007, 2008, 2009],
        }
    )
    pq.write_table(rows, source)
    with serving(workspace) as (url, _):
        until(lambda: status(f"{url}/readyz") == 200)
        done = run_example("parquet_batch.py", str(source), str(target), "--url", url)
    assert done.returncode == 0, done.stderr
    assert len(pq.read_table(target)) == 3


def retrain(workspace: Workspace, *options: str) -> "subprocess.CompletedProcess[str]":
    environment = workspace.environment | {"PYTHON": PYTHON, "RETRAIN_LOG": str(workspace.folder / "retrain.log")}
    command = ["sh", str(EXAMPLES / "retrain.sh"), *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONG_LIMIT, check=False)


def test_retraining_by_cron_is_quiet_and_logged(workspace: Workspace) -> None:
    """A training that succeeds prints nothing and ends with 0; the log names the new version and the verdict."""
    done = retrain(workspace, "--n-estimators", "5")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    log = (workspace.folder / "retrain.log").read_text()
    assert "version 2 in the registry" in log
    assert "on the same 30 rows" in log
    assert log.endswith("== status 0\n")


def test_retraining_by_cron_reports_a_failure(workspace: Workspace) -> None:
    """A training that fails gives its status, and its last lines on stderr for cron to mail; the log has them too."""
    done = retrain(workspace, "--data", str(workspace.folder / "none.csv"), "--target", "species")
    assert done.returncode == 1
    assert "the training ended with status 1" in done.stderr
    assert "none.csv" in done.stderr
    assert "none.csv" in (workspace.folder / "retrain.log").read_text()
    assert len(workspace.versions()) == 1
