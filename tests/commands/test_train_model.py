"""train_model.py as people run it: what it logs, what it publishes, and what is left when it dies."""

import contextlib
import json
import pickle
import re
import signal
import subprocess
from pathlib import Path

import joblib
import numpy as np
import pytest

import train_model
from tabserve.model import release
from tabserve.model.compiled import Forest
from tabserve.model.predictor import Predictor
from tabserve.model.versions import RegisteredVersion
from tabserve.registry import RELEASE
from tabserve.settings import Settings
from tabserve.training import dataset, estimators, evaluation
from tests.support.project import PYTHON, ROOT
from tests.support.workspaces import Workspace, runs

PLOTS = ("confusion_matrix", "roc", "calibration", "feature_importances")


def test_everything_is_logged(trained_once: Workspace) -> None:
    """A run has hyperparameters, data facts, cross-validation by fold, held-out metrics, importances, tags, dataset."""
    (run,) = runs(trained_once)
    (version,) = trained_once.versions()
    assert run.info.run_name == run.data.tags["model_version"] == version
    assert run.info.status == "FINISHED"
    parameters = run.data.params
    assert (parameters["n_estimators"], parameters["max_depth"], parameters["seed"]) == ("10", "None", "42")
    assert parameters["data_sha256"] == dataset.load_iris().digest
    assert (parameters["data_rows"], parameters["data_features"], parameters["data_classes"]) == ("150", "4", "3")
    expected = {f"test_{name}" for name in evaluation.METRICS}
    expected |= {f"cv_{name}_{kind}" for name in evaluation.METRICS for kind in ("mean", "std")}
    expected |= {
        f"test_{name}_{label}" for name in ("precision", "recall", "f1") for label in dataset.load_iris().classes
    }
    expected |= {f"importance_{kind}_petal_width" for kind in ("impurity", "permutation")}
    assert expected <= set(run.data.metrics)
    history = trained_once.store().connect().get_metric_history(run.info.run_id, "fold_accuracy")
    assert [metric.step for metric in history] == [0, 1, 2, 3, 4]
    assert np.mean([metric.value for metric in history]) == pytest.approx(run.data.metrics["cv_accuracy_mean"])
    assert {"git_commit", "seed", "version_scikit-learn", "version_python"} <= set(run.data.tags)
    assert run.data.tags["mlflow.note.content"].startswith(f"# iris-classifier {version}")
    contexts = {tag.value for dataset in run.inputs.dataset_inputs for tag in dataset.tags}
    assert contexts == {"training", "evaluation"}


def test_the_artifacts_are_those_of_the_run(trained_once: Workspace) -> None:
    """The folder of the version holds release, scaler, metadata, card and plots, and the run holds the same."""
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


def test_the_parts_agree(trained_once: Workspace) -> None:
    """The release, the model in MLflow and the scaler alone are of one and the same model."""
    import mlflow

    store = trained_once.store()
    version = store.champion()
    made = store.fetch(version)
    rows = dataset.load_iris().features
    registered = store.connect().get_model_version("iris-classifier", version.registry_version)
    assert (registered.tags["model_version"], registered.tags["release_sha256"]) == (
        version.model_version,
        made.checksum,
    )
    with contextlib.chdir(trained_once.folder):
        location = store.connect().get_model_version_download_uri("iris-classifier", version.registry_version)
        pipeline = mlflow.sklearn.load_model(location)
        answers = mlflow.pyfunc.load_model(location).predict(rows)
    probabilities = Predictor(made).outputs(rows.to_numpy())
    assert pipeline.predict_proba(rows).tolist() == probabilities.tolist()
    assert answers.tolist() == [made.schema.task.classes[index] for index in probabilities.argmax(axis=1)]
    scaler = joblib.load(trained_once.artifacts / version.model_version / "scaler.joblib")
    assert np.array_equal(scaler.mean_, pipeline.named_steps["scaler"].mean_)


def test_the_card_speaks_of_the_table(trained_once: Workspace) -> None:
    """Card and release say how common each class is, how good the model is with it and how sure that is, what was left
    out, and what the model is not good for."""
    champion = trained_once.store().champion()
    info = trained_once.store().fetch(champion).manifest.metadata
    card = (trained_once.artifacts / champion.model_version / "model_card.md").read_text()
    (run,) = runs(trained_once)
    assert list(info.by_class) == dataset.load_iris().classes
    for name, of_class in info.by_class.items():
        assert (of_class.rows, of_class.share, of_class.held_out_rows) == (50, 50 / 150, 10)
        for metric in ("precision", "recall", "f1"):
            estimate = getattr(of_class, metric)
            assert estimate.value == run.data.metrics[f"test_{metric}_{name}"]
            assert estimate["low"] < estimate.value <= estimate["high"] <= 1
            assert f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})" in card
    assert info.left_out == {}
    assert len(info.limits) == 4
    assert all(f"- {limit}\n" in card for limit in info.limits)


def test_no_pickle_is_published(trained_once: Workspace) -> None:
    """Nothing in the store or the release is a pickle; the one that people asked for is the scaler in artifacts."""
    for path in trained_once.folder.rglob("*"):
        if path.is_file() and path.name != "scaler.joblib":
            with pytest.raises(Exception), path.open("rb") as file:  # noqa: B017, PT011 whatever pickle says to no pickle
                pickle.load(file)


def test_the_same_seed_gives_the_same_model(workspace: Workspace) -> None:
    """Two trainings with the same options have the same forest, byte by byte, and the same metrics."""
    (first,) = workspace.versions()
    second = workspace.train("--n-estimators", "10")
    one, two = (release.read(workspace.artifacts / version / RELEASE) for version in (first, second))
    assert one.model == two.model
    assert one.manifest.metadata.metrics == two.manifest.metadata.metrics
    assert one.model_version != two.model_version


def test_promotion_is_earned_given_or_withheld(workspace: Workspace) -> None:
    """--promote never and a draw with --promote better leave the champion, the default and a better metric move it."""
    (first,) = workspace.versions()
    for options in (["--promote", "never"], ["--promote", "better", "--metric", "log_loss"]):
        done = workspace.run("train_model.py", "--n-estimators", "10", *options)
        assert "a candidate" in done.stdout, done.stdout + done.stderr
        assert workspace.store().champion().model_version == first
    worse = workspace.train("--n-estimators", "1")
    assert workspace.store().champion().model_version == worse
    better = workspace.train("--n-estimators", "50", "--promote", "better", "--metric", "log_loss")
    (*_, move) = workspace.store().journal()
    assert re.search(r"better: log_loss \S+ against \S+ of \S+ on the same 30 rows, difference -\S+ to ", move.why)
    assert workspace.store().champion().model_version == better


def test_a_champion_that_knows_the_held_out_rows_is_not_compared(workspace: Workspace) -> None:
    """A champion of another seed was trained on most of the held-out rows: the verdict says so, and it stays."""
    (first,) = workspace.versions()
    done = workspace.run("train_model.py", "--seed", "7", "--promote", "better", "--metric", "log_loss")
    assert done.returncode == 0, done.stderr
    assert "--seed 42" in done.stdout
    assert "train with the same to compare" in done.stdout
    assert "Next: `python promote_model.py 2 --why" in done.stdout
    assert workspace.store().champion().model_version == first


def test_the_next_step_names_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a training says to do next names the store and the model, where the other scripts would take others, or
    couldn't take theirs."""
    version = RegisteredVersion("20260101_000000", "3", "run", "checksum")
    monkeypatch.delenv("TABSERVE_MODEL_NAME", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert train_model.next_step(Settings.load(ROOT), version, True).startswith("`python api.py` serves")
    table = Settings.load(ROOT, table=tmp_path / "my birds.csv", tracking_uri="http://me:hunter2@host:5000")
    said = train_model.next_step(table, version, False)
    assert said.startswith(
        "`MLFLOW_TRACKING_URI=http://host:5000 TABSERVE_MODEL_NAME=my-birds python promote_model.py 3 --why"
    )
    monkeypatch.setenv("TABSERVE_MODEL_NAME", "my-birds")
    assert "TABSERVE_MODEL_NAME" not in train_model.next_step(table, version, True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://host")
    assert train_model.next_step(table, version, False) == said


def test_a_limit_on_leaves_is_told(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the forest could be too large to serve, its trees get fewer leaves; terminal, run, card and release say so,
    and the compiled model stays within the bound. Who sets a limit is told nothing, and a limit that no tree came to is
    none to speak of."""
    monkeypatch.setattr(estimators, "TREES_BYTES", 5600)
    for name, value in workspace.environment.items():
        monkeypatch.setenv(name, value)
    assert train_model.main(["--n-estimators", "10", "--folds", "2"]) == 0
    assert "each tree gets at most 10 leaves: of more, the model could be too large" in capsys.readouterr().out
    champion = workspace.store().champion()
    made = workspace.store().fetch(champion)
    assert made.manifest.metadata.parameters["max_leaf_nodes"] == 10
    assert "limited to 10 leaves each" in " ".join(made.manifest.metadata.limits)
    model = Predictor(made).compiled
    assert isinstance(model, Forest)
    assert model.nodes.nbytes + model.leaves.nbytes < 5600
    assert train_model.main(["--n-estimators", "10", "--folds", "2", "--max-leaf-nodes", "50"]) == 0
    assert "each tree gets" not in capsys.readouterr().out
    made = workspace.store().fetch(workspace.store().champion())
    assert "leaves each" not in " ".join(made.manifest.metadata.limits)


def test_unless_trained_trains_once(empty_workspace: Workspace) -> None:
    """--unless-trained trains where there is no champion and does nothing where there is one."""
    for _ in range(2):
        done = empty_workspace.run("train_model.py", "--unless-trained", "--n-estimators", "5")
        assert done.returncode == 0, done.stderr
    assert "nothing to train" in done.stdout
    assert len(empty_workspace.versions()) == 1


def test_unless_trained_repairs_what_it_cannot_read(workspace: Workspace) -> None:
    """--unless-trained finds the champion in a registry that was left half written, too."""
    (workspace.folder / "mlruns" / "models" / "iris-classifier" / "meta.yaml").write_text("")
    (workspace.folder / "mlruns" / "models" / "iris-classifier" / "version-2").mkdir()
    done = workspace.run("train_model.py", "--unless-trained")
    assert done.returncode == 0, done.stderr
    assert "nothing to train" in done.stdout
    assert len(workspace.versions()) == 1


@pytest.mark.parametrize("content", [None, "", "name: [", "just text"])
def test_a_registry_left_half_written_is_repaired(workspace: Workspace, content: str | None) -> None:
    """A version whose meta.yaml a kill left missing, empty or cut breaks MLflow, and the next training repairs it."""
    broken = workspace.folder / "mlruns" / "models" / "iris-classifier" / "version-2"
    broken.mkdir()
    if content is not None:
        (broken / "meta.yaml").write_text(content)
    with pytest.raises(Exception):  # noqa: B017, PT011 each kind of damage has its own, and none is documented
        workspace.store().connect().search_model_versions("name = 'iris-classifier'")
    version = workspace.train("--n-estimators", "5")
    assert workspace.store().champion().model_version == version


def test_a_dataset_left_half_written_is_repaired(workspace: Workspace) -> None:
    """A dataset that a kill left without its meta.yaml, which stops MLflow from logging it again, is no hindrance."""
    for meta in (workspace.folder / "mlruns").glob("*/datasets/*/meta.yaml"):
        meta.unlink()
    version = workspace.train("--n-estimators", "5")
    assert workspace.store().champion().model_version == version


def test_an_interrupted_training_says_so(workspace: Workspace) -> None:
    """Ctrl-C ends a training with status 130 and one line, its run KILLED and nothing of it in artifacts."""
    process = workspace.start("train_model.py", "--n-estimators", "10")
    with process:
        assert process.stdout is not None
        for _ in range(4):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 130
    assert rest.splitlines()[-1] == "train_model.py: interrupted; nothing was published"
    assert "Traceback" not in rest
    assert sorted(run.info.status for run in runs(workspace)) == ["FINISHED", "KILLED"]
    assert len(workspace.versions()) == 1


def test_an_interruption_says_what_was_reached(workspace: Workspace) -> None:
    """Ctrl-C after the model was registered says so, for the version is there."""
    code = (
        "import signal, sys, train_model\n"
        "train_model.promote = lambda *_: signal.raise_signal(signal.SIGINT)\n"
        "sys.exit(train_model.main(['--n-estimators', '5']))"
    )
    done = subprocess.run(
        [PYTHON, "-c", code], cwd=ROOT, env=workspace.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 130
    second = workspace.versions()[1]
    assert done.stderr == f"train_model.py: interrupted; {second} is registered as a candidate\n"


def test_a_stray_file_stops_no_training(workspace: Workspace) -> None:
    """A file that a file manager left among the datasets is no hindrance."""
    (datasets,) = (workspace.folder / "mlruns").glob("*/datasets")
    (datasets / ".DS_Store").touch()
    workspace.train("--n-estimators", "5")
    assert (datasets / ".DS_Store").exists()


def test_what_promotion_compares_is_measured() -> None:
    """Every choice of --metric is a metric of the evaluation."""
    assert set(train_model.METRIC_CHOICES) <= set(evaluation.METRICS)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--folds", "60"], "use fewer folds"),
        (["--test-size", "0.001"], "can't split 150 rows"),
        (["--tracking-uri", "file:/proc/nowhere/mlruns"], "/proc/nowhere"),
        (["--tracking-uri", "nonsense://host"], "--tracking-uri: MLflow knows no store 'nonsense:'"),
        (["--model-name", "../../precious"], "--model-name: "),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(workspace: Workspace, options: list[str], said: str) -> None:
    """A training that can't be done ends with status 1 and one line on stderr that says why, and publishes nothing."""
    done = workspace.run("train_model.py", *options)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("train_model.py: ")
    assert said in line
    assert len(workspace.versions()) == 1


@pytest.mark.parametrize(
    "option",
    [["--n-estimators", "0"], ["--test-size", "2"], ["--max-features", "5"], ["--seed", "x"], ["--metric", "accuracy"]],
)
def test_a_mistyped_option_is_named(empty_workspace: Workspace, option: list[str]) -> None:
    """An option out of its bounds is named, with what it may be, before anything is made."""
    done = empty_workspace.run("train_model.py", *option)
    assert done.returncode == 2
    assert option[0] in done.stderr
    assert not list(empty_workspace.folder.iterdir())


def test_a_database_works_as_well_as_a_folder(empty_workspace: Workspace) -> None:
    """With SQLite behind MLflow a training lands, its artifacts beside the database; it is champion, and its release
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
