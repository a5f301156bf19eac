"""train_model.py as people run it: what it logs, and what it publishes."""

import contextlib
import io
import json
import pickle
import subprocess

import joblib
import numpy as np
import pandas as pd
import pytest

from tabserve.model import Predictor, release
from tabserve.registry import RELEASE
from tabserve.registry.client import set_default_store
from tabserve.store_uri import absolute_store
from tabserve.training import METRICS, dataset
from tests.support.models import classes_of
from tests.support.project import PYTHON, ROOT
from tests.support.workspaces import Workspace, runs

PLOTS = ("confusion_matrix", "roc", "calibration", "feature_importances")

IRIS_CLASSES = ("setosa", "versicolor", "virginica")

NO_PICKLE = (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, KeyError, TypeError, ValueError)
"""What pickle raises of a file that is none, by its documentation and by what it was seen to raise."""


def test_run_has_everything_that_was_measured(trained_once: Workspace) -> None:
    """A run has hyperparameters, facts about the data, the metrics of each fold and of the held-out rows, importances,
    tags and datasets."""
    (run,) = runs(trained_once)
    (version,) = trained_once.versions()
    assert run.info.run_name == run.data.tags["model_version"] == version
    assert run.info.status == "FINISHED"
    parameters = run.data.params
    assert (parameters["n_estimators"], parameters["max_depth"], parameters["seed"]) == ("10", "None", "42")
    assert parameters["data_sha256"] == dataset.load_iris().digest
    assert (parameters["data_rows"], parameters["data_features"], parameters["data_classes"]) == ("150", "4", "3")
    names = METRICS["classification"].names
    expected = {f"test_{name}" for name in names}
    expected |= {f"cv_{name}_{kind}" for name in names for kind in ("mean", "std")}
    expected |= {f"test_{name}_{label}" for name in ("precision", "recall", "f1") for label in IRIS_CLASSES}
    expected |= {f"importance_{kind}_petal_width" for kind in ("impurity", "permutation")}
    assert expected <= set(run.data.metrics)
    history = trained_once.store().connect().get_metric_history(run.info.run_id, "fold_accuracy")
    assert [metric.step for metric in history] == [0, 1, 2, 3, 4]
    assert np.mean([metric.value for metric in history]) == pytest.approx(run.data.metrics["cv_accuracy_mean"])
    assert {"git_commit", "seed", "version_scikit-learn", "version_python"} <= set(run.data.tags)
    assert run.data.tags["mlflow.note.content"].startswith(f"# iris-classifier {version}")
    contexts = {tag.value for dataset in run.inputs.dataset_inputs for tag in dataset.tags}
    assert contexts == {"training", "evaluation"}


def test_artifacts_are_those_of_the_run(trained_once: Workspace) -> None:
    """The folder of the version has the release, scaler, metadata, card and plots, and the run has the same files."""
    (version,) = trained_once.versions()
    folder = trained_once.artifacts / version
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    wanted = {"scaler.joblib", "metadata.json", "model_card.md", "feature_importances.csv"}
    wanted |= {f"plots/{name}.png" for name in PLOTS} | {"release/manifest.json", "release/model.safetensors"}
    assert files == wanted
    (run,) = runs(trained_once)
    logged = trained_once.folder / run.info.artifact_uri
    assert {str(path.relative_to(logged)) for path in logged.rglob("*") if path.is_file()} == wanted
    assert all((folder / "plots" / f"{name}.png").stat().st_size < 100_000 for name in PLOTS)
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["model_version"] == version
    assert np.array(metadata["confusion_matrix"]).sum() == 30
    card = (folder / "model_card.md").read_text()
    assert f"{run.data.metrics['test_log_loss']:.4f}" in card


def test_release_logged_model_and_scaler_are_of_one_model(trained_once: Workspace) -> None:
    """The release and the model in MLflow give the same probabilities, and the scaler is that of the model."""
    import mlflow

    store = trained_once.store()
    version = store.champion()
    served = store.fetch(version)
    rows = dataset.load_iris().features
    registered = store.connect().get_model_version("iris-classifier", version.registry_version)
    assert (registered.tags["model_version"], registered.tags["release_sha256"]) == (
        version.model_version,
        served.checksum,
    )
    with contextlib.chdir(trained_once.folder):
        location = store.connect().get_model_version_download_uri("iris-classifier", version.registry_version)
        pipeline = mlflow.sklearn.load_model(location)
        answers = mlflow.pyfunc.load_model(location).predict(rows)
    probabilities = Predictor(served).outputs(rows.to_numpy())
    assert pipeline.predict_proba(rows).tolist() == probabilities.tolist()
    assert answers.tolist() == [classes_of(served.schema.task)[index] for index in probabilities.argmax(axis=1)]
    scaler = joblib.load(trained_once.artifacts / version.model_version / "scaler.joblib")
    assert np.array_equal(scaler.mean_, pipeline.named_steps["scaler"].mean_)


def test_logged_model_loads_from_any_working_directory_wherever_the_folder_is(workspace: Workspace) -> None:
    """`models:/NAME@champion` loads with the URI of the store alone. After the folder was moved, it does again once a
    command has listed the versions. It takes the whole numbers that `pandas.read_csv` gives for 5 and 6."""
    rows = pd.read_csv(io.StringIO("sepal_length,sepal_width,petal_length,petal_width\n5,3,1,0.2\n6,3,5,1.8\n"))
    assert rows.dtypes.astype(str).tolist() == ["int64", "int64", "int64", "float64"]
    assert pyfunc_answers(workspace, rows) == ["setosa", "virginica"]
    moved = Workspace(workspace.folder.rename(workspace.folder.with_name("moved to here")))
    listed = moved.run("promote_model.py")
    assert listed.returncode == 0, listed.stderr
    assert pyfunc_answers(moved, rows) == ["setosa", "virginica"]


def pyfunc_answers(workspace: Workspace, rows: pd.DataFrame) -> list[str]:
    import mlflow
    import mlflow.pyfunc

    set_default_store(absolute_store(workspace.uri, workspace.folder))
    answers: list[str] = mlflow.pyfunc.load_model("models:/iris-classifier@champion").predict(rows).tolist()
    return answers


def test_card_and_metadata_describe_each_class_and_the_limits(trained_once: Workspace) -> None:
    """The card and the metadata of the release have, for each class, its rows and its metrics with intervals; and what
    was left out, and what the model is not good for."""
    champion = trained_once.store().champion()
    metadata = trained_once.store().fetch(champion).metadata
    card = (trained_once.artifacts / champion.model_version / "model_card.md").read_text()
    (run,) = runs(trained_once)
    assert tuple(metadata.by_class) == IRIS_CLASSES
    for name, facts in metadata.by_class.items():
        assert (facts.rows, facts.share, facts.held_out_rows) == (50, 50 / 150, 10)
        for metric in ("precision", "recall", "f1"):
            estimate = getattr(facts, metric)
            assert estimate.value == run.data.metrics[f"test_{metric}_{name}"]
            assert estimate.low < estimate.value <= estimate.high <= 1
            assert f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})" in card
    assert metadata.left_out == {}
    assert len(metadata.limits) == 4
    assert all(f"- {limit}\n" in card for limit in metadata.limits)


def test_no_pickle_is_published_but_the_scaler(trained_once: Workspace) -> None:
    """Nothing in the store or the release is a pickle. Only the scaler in the artifacts is one, for scripts of
    people."""
    for path in trained_once.folder.rglob("*"):
        if path.is_file() and path.name != "scaler.joblib":
            with pytest.raises(NO_PICKLE), path.open("rb") as file:
                pickle.load(file)


def test_same_seed_gives_the_same_bytes(workspace: Workspace) -> None:
    """Two trainings with the same options have the same forest, byte by byte, and the same metrics."""
    (first,) = workspace.versions()
    second = workspace.train("--n-estimators", "10")
    earlier, later = (release.read(workspace.artifacts / version / RELEASE) for version in (first, second))
    assert earlier.model == later.model
    assert earlier.metadata.metrics == later.metadata.metrics
    assert earlier.model_version != later.model_version


def test_each_trial_is_a_run_and_the_best_is_trained(workspace: Workspace) -> None:
    """`--search` prints each trial when it ends. Each is a finished run below that of the training, with its
    hyperparameters and the metrics of its cross-validation. The model has the hyperparameters of the best, and its
    metadata says that they were chosen."""
    options = ["--search", "3", "--metric", "log_loss", "--n-estimators", "5", "--folds", "2", "--criterion", "gini"]
    done = workspace.run("train_model.py", *options)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "trial " in line]
    assert [line.split("trial ")[1].split(":")[0] for line in lines] == ["1 of 3", "2 of 3", "3 of 3"]
    champion = workspace.store().champion()
    by_name = {run.info.run_name: run for run in runs(workspace)}
    parent = by_name[champion.model_version]
    trials = [by_name[f"{champion.model_version} trial {number}"] for number in (1, 2, 3)]
    assert {trial.data.tags["mlflow.parentRunId"] for trial in trials} == {parent.info.run_id}
    assert {trial.info.status for trial in trials} == {"FINISHED"}
    assert all(trial.data.params["n_estimators"] == "5" for trial in trials)
    values = [trial.data.metrics["cv_log_loss_mean"] for trial in trials]
    assert f"{values[0]:.4f}" in lines[0]
    best = trials[values.index(min(values))]
    assert best.data.metrics.items() <= parent.data.metrics.items()
    assert best.data.params.items() <= parent.data.params.items()
    assert (parent.data.params["search"], parent.data.params["search_metric"]) == ("3", "log_loss")
    metadata = workspace.store().fetch(champion).metadata
    assert {name: str(metadata.parameters[name]) for name in best.data.params} == best.data.params
    assert "the best of 3" in metadata.limits[-1]


def test_database_works_as_well_as_a_folder(empty_workspace: Workspace) -> None:
    """With SQLite as the store, a training makes a champion, with MLflow's artifacts beside the database. Its release
    is found without the folder of artifacts."""
    uri = f"sqlite:///{empty_workspace.folder}/mlflow.db"
    done = empty_workspace.run("train_model.py", "--n-estimators", "5", MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 0, done.stderr
    (version,) = empty_workspace.versions()
    assert {path.name for path in empty_workspace.folder.iterdir()} == {"mlflow.db", "mlartifacts", "artifacts"}
    (empty_workspace.artifacts / version).rename(empty_workspace.folder / "away")
    code = (
        "import pathlib; from tabserve.settings import Settings; from tabserve.registry import open_registry; "
        "store = open_registry(Settings.load(pathlib.Path.cwd())); print(store.fetch(store.champion()).model_version)"
    )
    found = subprocess.run(
        [PYTHON, "-c", code],
        cwd=ROOT,
        env=empty_workspace.environment | {"MLFLOW_TRACKING_URI": uri},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == version
