"""What train_model.py leaves if it is interrupted, and what it repairs that others left."""

import signal
import subprocess

import pytest
from mlflow.exceptions import MlflowException
from yaml import YAMLError

from tests.support.project import PYTHON, ROOT
from tests.support.workspaces import Workspace, runs

UNREADABLE = (MlflowException, AttributeError, KeyError, TypeError, YAMLError)
"""What MLflow was seen to raise of a damaged `meta.yaml`."""


def test_unless_trained_repairs_a_registry_that_it_cannot_read(workspace: Workspace) -> None:
    """--unless-trained finds the champion in a registry that a killed training left half written."""
    (workspace.folder / "mlruns" / "models" / "iris-classifier" / "meta.yaml").write_text("")
    (workspace.folder / "mlruns" / "models" / "iris-classifier" / "version-2").mkdir()
    done = workspace.run("train_model.py", "--unless-trained")
    assert done.returncode == 0, done.stderr
    assert "nothing to train" in done.stdout
    assert len(workspace.versions()) == 1


@pytest.mark.parametrize("content", [None, "", "name: [", "just text"])
def test_half_written_registry_is_repaired(workspace: Workspace, content: str | None) -> None:
    """A version whose meta.yaml a kill left missing, empty or incomplete breaks MLflow; the next training repairs
    it."""
    broken = workspace.folder / "mlruns" / "models" / "iris-classifier" / "version-2"
    broken.mkdir()
    if content is not None:
        (broken / "meta.yaml").write_text(content)
    with pytest.raises(UNREADABLE):
        workspace.store().connect().search_model_versions("name = 'iris-classifier'")
    version = workspace.train("--n-estimators", "5")
    assert workspace.store().champion().model_version == version


def test_half_written_dataset_is_repaired(workspace: Workspace) -> None:
    """A dataset that a kill left without its meta.yaml keeps MLflow from logging it; the next training repairs it."""
    for meta in (workspace.folder / "mlruns").glob("*/datasets/*/meta.yaml"):
        meta.unlink()
    version = workspace.train("--n-estimators", "5")
    assert workspace.store().champion().model_version == version


def test_interrupted_training_publishes_nothing(workspace: Workspace) -> None:
    """Ctrl-C ends a training with status 130 and one line. Its run is KILLED, and nothing of it is in the artifacts."""
    done = workspace.train_with_signal(signal.SIGINT, steps=4)
    assert done.returncode == 130
    assert done.stderr == "train_model.py: interrupted; nothing was published\n"
    assert sorted(run.info.status for run in runs(workspace)) == ["FINISHED", "KILLED"]
    assert len(workspace.versions()) == 1


def test_interruption_after_the_registration_says_so(workspace: Workspace) -> None:
    """Ctrl-C after the model was registered says that the version exists."""
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


def test_foreign_file_among_the_datasets_is_ignored(workspace: Workspace) -> None:
    """A file that a file manager left among the datasets stays, and the training works."""
    (datasets,) = (workspace.folder / "mlruns").glob("*/datasets")
    (datasets / ".DS_Store").touch()
    workspace.train("--n-estimators", "5")
    assert (datasets / ".DS_Store").exists()
