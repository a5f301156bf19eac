"""The search for hyperparameters: what is tried, which is taken, and what stands in MLflow of it."""

import math

import pytest

from tabserve.errors import DataError
from tabserve.training.config import HYPERPARAMETERS, EstimatorConfig
from tabserve.training.tuning import SPACES, Search, Trial
from tests.support.workspaces import Workspace, runs

VALUES = (0.5, 0.9, 0.3, math.nan, 0.9, 0.2)


def tried(search: Search, values: tuple[float, ...] = VALUES) -> list[EstimatorConfig]:
    """Its questions, answered by these values."""
    asked = []
    for value in values:
        asked.append(search.ask())
        search.tell(asked[-1], value)
    return asked


@pytest.mark.parametrize("estimator", HYPERPARAMETERS)
def test_the_first_try_is_the_recipe_itself(estimator: str) -> None:
    """First the defaults are tried, then others; what was given stays; the same seed and answers bring the same."""
    given = {"max_iter": 77} if estimator == "hist-gradient-boosting" else {"class_weight": "balanced"}
    first, *others = tried(Search(EstimatorConfig(estimator, given), "accuracy", 1))
    assert first.given == given | {name: value for name, (_, value) in SPACES[estimator].items() if name not in given}
    assert all(given.items() <= other.given.items() for other in others)
    assert len({str(recipe) for recipe in (first, *others)}) > len(VALUES) / 2
    assert tried(Search(EstimatorConfig(estimator, given), "accuracy", 1)) == [first, *others]
    assert set(SPACES[estimator]) <= set(HYPERPARAMETERS[estimator])


@pytest.mark.parametrize("values", [VALUES, (math.nan, *VALUES[1:])])
@pytest.mark.parametrize(("metric", "number"), [("accuracy", 2), ("log_loss", 6)])
def test_the_best_is_the_best_of_the_metric(metric: str, number: int, values: tuple[float, ...]) -> None:
    """More accuracy is better, less log loss is; of equals the first is taken, and never one that is no number."""
    search = Search(EstimatorConfig(), metric, 0)
    asked = tried(search, values)
    assert search.best == Trial(number, asked[number - 1], values[number - 1])


def test_nothing_left_to_try_is_said() -> None:
    """Where all that could be tried is given, it is said what that is."""
    with pytest.raises(DataError, match="--search has nothing to try: C are all given"):
        Search(EstimatorConfig("logistic-regression", {"C": 2.0}), "accuracy", 0)


def test_each_trial_is_a_run_and_the_best_is_registered(workspace: Workspace) -> None:
    """`--search` tells each trial as it ends; each is a finished run below the training's, with its hyperparameters and
    the cross-validation's metrics; what is trained and served has those of the best, and says what it was chosen by."""
    options = ["--search", "3", "--metric", "log_loss", "--n-estimators", "5", "--folds", "2", "--criterion", "gini"]
    done = workspace.run("train_model.py", *options)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "trial " in line]
    assert [line.split("trial ")[1].split(":")[0] for line in lines] == ["1 of 3", "2 of 3", "3 of 3"]
    champion = workspace.store().champion()
    found = {run.info.run_name: run for run in runs(workspace)}
    parent = found[champion.model_version]
    trials = [found[f"{champion.model_version} trial {number}"] for number in (1, 2, 3)]
    assert {trial.data.tags["mlflow.parentRunId"] for trial in trials} == {parent.info.run_id}
    assert {trial.info.status for trial in trials} == {"FINISHED"}
    assert all(trial.data.params["n_estimators"] == "5" for trial in trials)
    values = [trial.data.metrics["cv_log_loss_mean"] for trial in trials]
    assert f"{values[0]:.4f}" in lines[0]
    best = trials[values.index(min(values))]
    assert best.data.metrics.items() <= parent.data.metrics.items()
    assert best.data.params.items() <= parent.data.params.items()
    assert (parent.data.params["search"], parent.data.params["search_metric"]) == ("3", "log_loss")
    info = workspace.store().fetch(champion).manifest.metadata
    assert {name: str(info.parameters[name]) for name in best.data.params} == best.data.params
    assert "the best of 3" in info.limits[-1]
