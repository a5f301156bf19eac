"""Tables with a number to predict, trained and served by the commands: prices of diamonds and of houses, taxi fares."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tabserve.model import Predictor, Regression
from tests.support import number_tables
from tests.support.client import get, post, served_version
from tests.support.servers import serving
from tests.support.waiting import until
from tests.support.workspaces import Workspace, runs

SMALL = ("--n-estimators", "10")

PLOTS = {"predicted_and_actual", "residuals", "error_by_decile", "feature_importances"}


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a forest of the prices of houses. Must not be changed."""
    workspace = Workspace(tmp_path_factory.mktemp("houses"), model_name="houses")
    number_tables.houses(400).to_csv(workspace.folder / "houses.csv", index=False)
    workspace.train("--data", str(workspace.folder / "houses.csv"), "--target", "SalePrice", *SMALL)
    return workspace


def test_number_is_chosen_and_its_reason_is_told(tmp_path: Path) -> None:
    """A table with a target of many whole numbers is trained as a number, and the training says why, how good it is and
    what its intervals hold."""
    workspace = Workspace(tmp_path, model_name="diamonds")
    number_tables.diamonds(300).to_csv(tmp_path / "diamonds.csv", index=False)
    done = workspace.run("train_model.py", "--data", "diamonds.csv", "--target", "price", "--estimator", "ridge")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "diamonds: 300 rows; price is a number from " in done.stdout
    assert "different whole numbers: --task classification predicts classes\n" in done.stdout
    assert "equal to scikit-learn on 2000 rows" in done.stdout
    assert all(f"\n  {metric} " in done.stdout for metric in ("mae", "rmse", "r2", "median_absolute_error", "mape"))
    assert "%) of the held-out rows; mean width " in done.stdout


def test_everything_of_a_number_is_kept(houses: Workspace) -> None:
    """The release has the range of the target and the intervals; the run has the metrics of a number; the artifacts
    have its plots and a card that names its limits."""
    store = houses.store()
    release = store.fetch(store.champion())
    task = release.schema.task
    assert isinstance(task, Regression)
    assert task.target_minimum < task.target_maximum
    assert min(task.interval_radii) > 0
    run = store.connect().get_run(store.champion().run_id)
    expected = {"test_mae", "cv_rmse_mean", "cv_r2_std", "test_interval_coverage", "test_interval_width"}
    assert expected | {"test_pinball_loss", "importance_permutation_GrLivArea"} <= set(run.data.metrics)
    folder = houses.artifacts / release.model_version
    assert {path.stem for path in (folder / "plots").iterdir()} == PLOTS
    card = (folder / "model_card.md").read_text()
    assert f"MAE {run.data.metrics['test_mae']:.4f} on 80 held-out rows" in card
    held = release.metadata.interval_coverage
    assert held
    assert held.low < held.value < held.high
    assert f"90% of the true numbers hold {held.value:.1%} ({held.low:.1%} to {held.high:.1%}) of the held-out" in card
    limit = f"It can't predict a number outside of {task.target_minimum:g} to {task.target_maximum:g}"
    assert limit in card
    assert any(one.startswith(limit) for one in release.metadata.limits)


def test_logged_model_and_release_give_the_same_numbers(houses: Workspace) -> None:
    """The model in MLflow predicts the numbers of the release, bit for bit."""
    import mlflow

    store = houses.store()
    version = store.champion()
    table = number_tables.as_dataset(pd.read_csv(houses.folder / "houses.csv"), "SalePrice")
    with contextlib.chdir(houses.folder):
        location = store.connect().get_model_version_download_uri("houses", version.registry_version)
        answers = mlflow.sklearn.load_model(location).predict(table.features)
    predictor = Predictor(store.fetch(version))
    columns = {
        str(name): values.astype(object).where(values.notna(), None).tolist() for name, values in table.features.items()
    }
    assert predictor.outputs(predictor.schema.rows(columns).values)[:, 0].tolist() == answers.tolist()


def test_checks_of_the_api_pass_for_a_number(houses: Workspace) -> None:
    """test_api.py passes against a server of a number, with its own checks."""
    with serving(houses) as (url, _):
        until(lambda: served_version(url) is not None)
        done = houses.run("test_api.py", "--no-server", "--url", url)
        assert done.returncode == 0, done.stdout
        assert "The prediction lies between the two bounds of its interval" in done.stdout
        assert "Probabilities sum to 1" not in done.stdout


@pytest.mark.parametrize("loss", ["gamma", "poisson"])
def test_fares_are_served_within_their_intervals(loss: str, tmp_path: Path) -> None:
    """A table of Parquet with a positive number is trained with a loss of positive numbers. Nine in ten new rows are in
    the intervals that the server gives."""
    workspace = Workspace(tmp_path, model_name="taxis")
    number_tables.taxis(600).to_parquet(tmp_path / "taxis.parquet")
    options = ("--estimator", "hist-gradient-boosting", "--max-iter", "40", "--loss", loss)
    workspace.train("--data", str(tmp_path / "taxis.parquet"), "--target", "fare_amount", *options)
    fresh = number_tables.taxis(400, seed=1)
    columns = json.loads(fresh.drop(columns="fare_amount").to_json(orient="split"))
    body = {"columns": dict(zip(columns["columns"], np.array(columns["data"], dtype=object).T.tolist(), strict=True))}
    with serving(workspace) as (url, _):
        until(lambda: served_version(url) is not None)
        reply = post(f"{url}/predict/batch", json=body).json()
    low, high = np.array(reply["interval"]).T
    assert min(reply["prediction"]) > 0
    assert low.min() >= 0
    assert ((low <= fresh.fare_amount) & (fresh.fare_amount <= high)).mean() == pytest.approx(0.9, abs=0.06)


def test_better_model_of_a_number_becomes_live(houses: Workspace) -> None:
    """--promote better compares by the error on the same held-out rows, with an interval; --search tries the parameters
    of the estimator by it."""
    data = ("--data", str(houses.folder / "houses.csv"), "--target", "SalePrice")
    search = ("--estimator", "ridge", "--search", "3", "--promote", "better", "--metric", "mae")
    done = houses.run("train_model.py", *data, *search)
    assert done.returncode == 0, done.stderr
    assert "mae " in done.stdout
    assert "with 95 % confidence" in done.stdout
    trials = [run.data.params for run in runs(houses) if "trial" in (run.info.run_name or "")]
    assert {trial["alpha"] for trial in trials} > {"1.0"}
    listed = houses.run("promote_model.py").stdout
    assert listed.splitlines()[0].split()[5:8] == ["mae", "rmse", "r2"]


def test_candidate_answers_recorded_numbers_again(houses: Workspace) -> None:
    """--compare says for how many of a running API's newest predictions a version gives another number, and how far
    they move."""
    number = houses.store().versions()[0].version.registry_version
    rows = json.loads(number_tables.houses(20, seed=3).drop(columns="SalePrice").to_json(orient="records"))
    with serving(houses) as (url, _):
        until(lambda: served_version(url) is not None)
        assert post(f"{url}/predict/batch", json={"records": rows}).status_code == 200
        assert get(f"{url}/predictions/history").json()["total"] == 20
        shown = houses.run("promote_model.py", "--compare", number, "--url", url).stdout
    assert "another number  " in shown
    assert "as a share of the target's spread" in shown


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--estimator", "logistic-regression"), "--estimator logistic-regression predicts classes"),
        (("--class-weight", "balanced"), "--class-weight is for classes"),
        (("--promote", "better", "--metric", "f1_macro"), "--metric f1_macro is for classes"),
        (("--coverage", "0.999"), "--coverage 0.999 needs 999 training rows, and there are 320"),
        (("--task", "classification"), "different values, and at most 100 classes are possible"),
    ],
)
def test_options_that_do_not_fit_a_number_are_refused(
    options: tuple[str, ...], problem: str, houses: Workspace
) -> None:
    """An option of classes, and a coverage that the rows can't tell, end in one line on stderr."""
    data = ("--data", str(houses.folder / "houses.csv"), "--target", "SalePrice")
    done = houses.run("train_model.py", *data, *options)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert problem in done.stderr
