"""The table of penguins through the commands: trained, served, or refused in one line."""

import re
from pathlib import Path

import pytest
import requests

import train_model
from tabserve.model.predictor import Predictor
from tests.support.client import status
from tests.support.models import GENTOO, classes_of
from tests.support.project import PENGUINS
from tests.support.servers import serving
from tests.support.waiting import LIMIT, until
from tests.support.workspaces import Workspace


def test_table_becomes_a_service_with_one_command(tmp_path: Path) -> None:
    """One command trains a model that is named after the file of the table, and that passes every check of test_api.py.
    A model of another table in the same store is served under its own name."""
    workspace, penguins = Workspace(tmp_path), Workspace(tmp_path, model_name="penguins")
    trained = workspace.run("train_model.py", "--data", str(PENGUINS), "--target", "species", TABSERVE_MODEL_NAME="")
    assert trained.returncode == 0, trained.stderr
    assert re.search(r"^  sex +category; male \(168\), female \(165\); ", trained.stdout, re.MULTILINE)
    workspace.train("--n-estimators", "5")
    with serving(penguins) as (url, _), serving(workspace) as (other, _):
        until(lambda: status(f"{url}/readyz") == status(f"{other}/readyz") == 200)
        done = workspace.run("test_api.py", "--no-server", "--url", url)
        assert done.returncode == 0, done.stdout
        assert "sepal_length" in requests.post(f"{other}/predict", json=GENTOO, timeout=LIMIT).text


def test_problems_of_a_table_are_a_line_each(tmp_path: Path) -> None:
    """train_model.py ends with status 1 and a line for each problem of the table, and publishes nothing. Options of a
    table without --data, or --data without a target, end with status 2."""
    (tmp_path / "table.csv").write_text("a,b,kind\n" + "1,,x\n" * 30)
    workspace = Workspace(tmp_path)
    elsewhere = f"file:{tmp_path}/store/mlruns"
    done = workspace.run("train_model.py", "--data", "table.csv", "--target", "kind", MLFLOW_TRACKING_URI=elsewhere)
    assert done.returncode == 1
    assert [line.partition(": table.csv: ")[2] for line in done.stderr.splitlines()] == [
        "column 'b' is empty: --drop 'b'",
        "the target 'kind' needs at least two classes, and has only 'x'",
    ]
    assert not workspace.versions()
    for wrong in (["--data", "table.csv"], ["--target", "kind"], ["--drop", "a"]):
        done = workspace.run("train_model.py", *wrong)
        assert done.returncode == 2
        assert "--" in done.stderr


@pytest.mark.parametrize("estimator", ["extra-trees", "hist-gradient-boosting", "logistic-regression"])
def test_every_estimator_becomes_a_release(
    estimator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each estimator is trained, compared with scikit-learn, logged to MLflow and registered; the release that is
    fetched has its parameters and metrics."""
    workspace = Workspace(tmp_path, model_name="penguins")
    for name, value in workspace.environment.items():
        monkeypatch.setenv(name, value)
    options = ["--data", str(PENGUINS), "--target", "species", "--class-weight", "balanced"]
    assert train_model.main([*options, "--estimator", estimator]) == 0, capsys.readouterr().err
    release = workspace.store().fetch(workspace.store().champion())
    assert classes_of(Predictor(release).schema.task) == ("Adelie", "Chinstrap", "Gentoo")
    metadata = release.metadata
    assert (metadata.parameters["estimator"], metadata.parameters["class_weight"]) == (estimator, "balanced")
    assert sum(metadata.feature_importances.values()) == pytest.approx(1)
    assert metadata.metrics["test_accuracy"] > 0.95


def test_wrong_option_of_an_encoding_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The message says what --rare takes, and that the options are about a table."""
    table = ["--data", str(PENGUINS), "--target", "species"]
    for options, message in (
        ([*table, "--rare", "0"], "--rare: '0' is not a whole number of rows, or a share between 0 and 1"),
        ([*table, "--rare", "2.5"], "--rare: '2.5' is not a whole number of rows"),
        ([*table, "--encode", "hash"], "--encode: invalid choice: 'hash'"),
        (["--no-missing-indicators"], "they are about a table; name the table with --data"),
        (["--rare", "1"], "they are about a table; name the table with --data"),
    ):
        with pytest.raises(SystemExit):
            train_model.main(options)
        assert message in capsys.readouterr().err


def test_hyperparameter_of_another_estimator_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The message says which estimators have it."""
    for option, value, message in (
        ("--max-features", "sqrt", "--max-features: it is for --estimator random-forest, extra-trees, not"),
        ("--class-weight", "balanced_subsample", "--class-weight: balanced_subsample is for forests"),
        ("--C", "0", "--C: '0' is not a number above 0"),
    ):
        with pytest.raises(SystemExit):
            train_model.main(["--estimator", "logistic-regression", option, value])
        assert message in capsys.readouterr().err
