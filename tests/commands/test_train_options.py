"""The options and messages of train_model.py: what becomes live, what comes next, and what is refused."""

import re
import subprocess
from pathlib import Path

import pytest

import tabserve
import train_model
from tabserve.cli import train, train_options
from tabserve.model import Predictor
from tabserve.model.compiled import Forest
from tabserve.settings import Settings
from tabserve.training.estimators import catalog
from tests.support.project import PYTHON, ROOT
from tests.support.workspaces import Workspace


def test_promotion_follows_the_option(workspace: Workspace) -> None:
    """--promote never, and an equal metric with --promote better, leave the champion; the default, and a better metric,
    promote the new version."""
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


def test_champion_that_was_trained_on_the_held_out_rows_is_not_compared(workspace: Workspace) -> None:
    """A champion of another seed was trained on most of the held-out rows: the verdict says so, and it stays live."""
    (first,) = workspace.versions()
    done = workspace.run("train_model.py", "--seed", "7", "--promote", "better", "--metric", "log_loss")
    assert done.returncode == 0, done.stderr
    assert "--seed 42" in done.stdout
    assert "train with the same seed, test size and table to compare" in done.stdout
    assert "Next: `python promote_model.py 2 --why" in done.stdout
    assert workspace.store().champion().model_version == first


def test_next_step_names_store_and_model_if_they_are_not_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next step is a command that works on the store and the model of the training: it sets them if the other
    commands would use others, or could not use theirs."""
    monkeypatch.delenv("TABSERVE_MODEL_NAME", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    options = train_options.parse([], root=tmp_path, program="train_model.py")
    defaults = Settings.load(tmp_path)
    assert train.next_step(options, defaults, "3", is_live=True).startswith("`python api.py` serves the live model")
    birds = Settings.load(tmp_path, table=tmp_path / "my birds.csv", tracking_uri="http://me:hunter2@host:5000")
    message = train.next_step(options, birds, "3", is_live=False)
    assert message.startswith(
        "`MLFLOW_TRACKING_URI=http://host:5000 TABSERVE_MODEL_NAME=my-birds python promote_model.py 3 --why"
    )
    monkeypatch.setenv("TABSERVE_MODEL_NAME", "my-birds")
    assert "TABSERVE_MODEL_NAME" not in train.next_step(options, birds, "3", is_live=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://host")
    assert train.next_step(options, birds, "3", is_live=False) == message


def test_next_step_of_the_installed_command_is_an_installed_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `tabserve train` the next step is `tabserve serve` or `tabserve promote`."""
    monkeypatch.delenv("TABSERVE_MODEL_NAME", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    options = train_options.parse([], root=tmp_path, program="tabserve train")
    settings = Settings.load(tmp_path)
    assert train.next_step(options, settings, "3", is_live=True).startswith("`tabserve serve` serves the live model")
    assert train.next_step(options, settings, "3", is_live=False).startswith('`tabserve promote 3 --why "…"`')


def test_installed_command_runs_the_recipe_of_the_script(
    empty_workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`tabserve train` trains with the recipe in train_model.py, even if the working directory has another file of that
    name. Its messages and the journal have its own name."""
    for name, value in empty_workspace.environment.items():
        monkeypatch.setenv(name, value)
    (empty_workspace.folder / "train_model.py").write_text("raise RuntimeError")
    monkeypatch.chdir(empty_workspace.folder)
    arguments = ["--n-estimators", "5", "--folds", "2"]
    assert train.main(arguments, root=empty_workspace.folder, program="tabserve train") == 0
    assert "register and publish" in capsys.readouterr().out
    (deployment,) = empty_workspace.store().journal()
    assert deployment.why == "tabserve train --promote always"
    assert train.main(["--folds", "60"], root=empty_workspace.folder, program="tabserve train") == 1
    assert capsys.readouterr().err.startswith("tabserve train: 60 folds need 60 rows of every class")


def test_limit_on_leaves_is_reported(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the forest could be too large to serve, its trees get fewer leaves: terminal and release say so, and the
    compiled model is not larger. Nothing is reported of a limit that was set by hand, unless a tree reached it."""
    monkeypatch.setattr(catalog, "MAX_TREE_BYTES", 5600)
    for name, value in workspace.environment.items():
        monkeypatch.setenv(name, value)
    assert train_model.main(["--n-estimators", "10", "--folds", "2"]) == 0
    assert "each tree gets at most 10 leaves: with more, the model could be too large" in capsys.readouterr().out
    limited = workspace.store().fetch(workspace.store().champion())
    assert limited.metadata.parameters["max_leaf_nodes"] == 10
    assert "limited to 10 leaves each" in " ".join(limited.metadata.limits)
    model = Predictor(limited).compiled
    assert isinstance(model, Forest)
    assert model.nodes.nbytes + model.leaves.nbytes < 5600
    assert train_model.main(["--n-estimators", "10", "--folds", "2", "--max-leaf-nodes", "50"]) == 0
    assert "each tree gets" not in capsys.readouterr().out
    by_hand = workspace.store().fetch(workspace.store().champion())
    assert "leaves each" not in " ".join(by_hand.metadata.limits)


def test_unless_trained_trains_once(empty_workspace: Workspace) -> None:
    """--unless-trained trains if there is no champion, and does nothing if there is one."""
    for _ in range(2):
        done = empty_workspace.run("train_model.py", "--unless-trained", "--n-estimators", "5")
        assert done.returncode == 0, done.stderr
    assert "nothing to train" in done.stdout
    assert len(empty_workspace.versions()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--folds", "60"], "use fewer folds"),
        (["--test-size", "0.001"], "can't split 150 rows"),
        (["--tracking-uri", "file:/proc/nowhere/mlruns"], "/proc/nowhere"),
        (["--tracking-uri", "nonsense://host"], "--tracking-uri: MLflow has no store 'nonsense:'"),
        (["--model-name", "../../precious"], "--model-name: "),
    ],
)
def test_impossible_training_ends_with_one_line(workspace: Workspace, options: list[str], message: str) -> None:
    """A training that is impossible ends with status 1 and one line on stderr that says why, and publishes nothing."""
    done = workspace.run("train_model.py", *options)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("train_model.py: ")
    assert message in line
    assert len(workspace.versions()) == 1


@pytest.mark.parametrize(
    "option",
    [["--n-estimators", "0"], ["--test-size", "2"], ["--max-features", "5"], ["--seed", "x"], ["--metric", "accuracy"]],
)
def test_wrong_option_is_named(empty_workspace: Workspace, option: list[str]) -> None:
    """An option with a wrong value, or without the option that it needs, ends with status 2 and its name, and nothing
    is written."""
    done = empty_workspace.run("train_model.py", *option)
    assert done.returncode == 2
    assert option[0] in done.stderr
    assert not list(empty_workspace.folder.iterdir())


def test_version_is_shown() -> None:
    """--version prints the version of the package."""
    done = subprocess.run([PYTHON, "train_model.py", "--version"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"tabserve {tabserve.__version__}\n"


def test_help_and_a_wrong_option_import_no_library() -> None:
    """What is needed to print the help, or to refuse an option, imports neither numpy nor pandas nor scikit-learn."""
    code = (
        "import sys, train_model\n"
        "try: train_model.main(['--n-estimators', '0'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'numpy', 'pandas', 'sklearn', 'mlflow', 'matplotlib', 'optuna'} & set(sys.modules)))"
    )
    done = subprocess.run([PYTHON, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
