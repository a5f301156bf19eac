"""The command around the recipe of a training."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.project import PYTHON, ROOT

RECIPE = """
import os, pathlib, sys
from tabserve.cli.train import run_recipe
run_recipe(lambda *_: print(os.environ["OMP_WAIT_POLICY"]), [], root=pathlib.Path(sys.argv[1]), program="train")
"""


@pytest.mark.parametrize(("given", "used"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_waiting_threads_leave_the_cores_to_others(given: dict[str, str], used: str, tmp_path: Path) -> None:
    """A recipe runs with threads that sleep while they wait, unless the environment says otherwise."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | given
    command = [PYTHON, "-c", RECIPE, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{used}\n"), done.stderr


WARNING_RECIPE = """
import pathlib, sys, warnings
from tabserve.cli.train import run_recipe

def recipe(*_):
    warnings.warn("`sklearn.utils.parallel.delayed` should be used with `sklearn.utils.parallel.Parallel`")
    warnings.warn("it did not converge")

run_recipe(recipe, [], root=pathlib.Path(sys.argv[1]), program="train")
"""


def test_only_the_wrong_warning_of_scikit_learn_is_hidden(tmp_path: Path) -> None:
    """A warning about scikit-learn's own use of its threads, which is wrong, isn't shown; others are."""
    command = [PYTHON, "-c", WARNING_RECIPE, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "it did not converge" in done.stderr
    assert "should be used with" not in done.stderr
