"""Trainings for tests that need a trained model and don't test the training: `train_model.py` without its imports."""

import atexit
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import train_model
from tests.support.forks import Ended, ForkServer

_servers: list[ForkServer] = []


def train(folder: Path, environment: Mapping[str, str], options: Sequence[str]) -> Ended:
    """Trains as `train_model.py` does with these options in this folder and environment, in a forked process."""
    if not _servers:
        server = ForkServer("tests.support.training", environment=os.environ)
        atexit.register(server.close)
        _servers.append(server)
    return _servers[0].run(folder=str(folder), environment=dict(environment), options=list(options))


# -- in the process that forks


def warm_up() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"file:{folder}/mlruns"
        os.environ["TABSERVE_ARTIFACTS_DIR"] = f"{folder}/artifacts"
        working_directory = Path.cwd()
        os.chdir(folder)
        assert train_model.main(["--n-estimators", "2", "--folds", "2"]) == 0
        os.chdir(working_directory)


def work(folder: str, environment: dict[str, str], options: list[str]) -> tuple[int, None]:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    return train_model.main(options), None
