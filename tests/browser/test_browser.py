"""The API's page and MLflow's pages in a real Chromium that has no internet."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect, sync_playwright

from api_checks.client import Api
from tests.support.client import status
from tests.support.models import GENTOO
from tests.support.project import PENGUINS
from tests.support.servers import mlflow_process, serving
from tests.support.waiting import LIMIT, until
from tests.support.workspaces import Workspace

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMIUM_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
CHROMIUM_OPTIONS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
PLOTS = ("calibration", "confusion_matrix", "feature_importances", "roc")
MILLISECONDS = LIMIT * 1000
"""The limit of one step in a browser."""
DEFAULT_MILLISECONDS = 5000
"""Playwright's own limit."""

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium here: /docs and MLflow's pages were not opened"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        try:
            yield chromium
        finally:
            chromium.close()


class Tab:
    """A page of a browser without a past, to which only this machine answers.

    Attributes:
        asked_elsewhere: addresses outside this machine that the page has asked for.
        errors: what the page has written to the console as an error.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.asked_elsewhere: list[str] = []
        self.errors: list[str] = []
        page.set_default_timeout(MILLISECONDS)
        page.route(re.compile(r"^(?!http://127\.0\.0\.1:)"), self._refuse)
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _refuse(self, route: Route) -> None:
        self.asked_elsewhere.append(route.request.url)
        route.abort()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    context = browser.new_context(viewport={"width": 1920, "height": 1200}, locale="en-GB")
    try:
        yield Tab(context.new_page())
    finally:
        context.close()


@pytest.fixture(scope="module", autouse=True)
def _limit() -> Iterator[None]:
    expect.set_options(timeout=MILLISECONDS)
    yield
    expect.set_options(timeout=DEFAULT_MILLISECONDS)


# -- the API's page


def test_docs_page_predicts_without_the_internet(api: Api, tab: Tab) -> None:
    """/docs loads everything from its own server, and its example is answered by the live version when it is
    executed."""
    asked: list[str] = []
    page = tab.page
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{api.url}/docs")
    assert tab.asked_elsewhere == []
    predict = page.locator(".opblock").filter(has=page.locator('[data-path="/predict"]'))
    predict.get_by_role("button", name="/predict").first.click()
    example = json.loads(predict.locator("textarea").input_value())
    with page.expect_response(f"{api.url}/predict") as caught:
        predict.get_by_role("button", name="Execute").click()
    assert caught.value.request.post_data_json == example
    reply = caught.value.json()
    assert reply["model_version"] == api.json("/model/info")["model_version"]
    shown = predict.locator(".live-responses-table")
    expect(shown.locator("tbody .response-col_status")).to_contain_text("200")
    expect(shown).to_contain_text(f'"model_version": "{reply["model_version"]}"')
    assert (tab.asked_elsewhere, tab.errors) == ([], [])
    assert [url for url in asked if not url.startswith(f"{api.url}/")] == []


def test_docs_page_predicts_under_a_path_prefix(workspace: Workspace, tab: Tab) -> None:
    """Under a path prefix, /docs loads everything from below it, and the button calls /predict there."""
    with serving(workspace, TABSERVE_ROOT_PATH="/ml/iris") as (url, _):
        until(lambda: status(f"{url}/readyz") == 200)
        page = tab.page
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{url}/ml/iris/docs")
        predict = page.locator(".opblock").filter(has=page.locator('[data-path="/predict"]'))
        predict.get_by_role("button", name="/predict").first.click()
        with page.expect_response(f"{url}/ml/iris/predict") as caught:
            predict.get_by_role("button", name="Execute").click()
        assert caught.value.status == 200
        assert [address for address in asked if not address.startswith(f"{url}/ml/iris/")] == []


def test_docs_page_shows_the_features_of_another_table(tmp_path: Path, tab: Tab) -> None:
    """For a model of another table, /docs shows its features by name with their categories, and its example is answered
    when it is executed."""
    workspace = Workspace(tmp_path, model_name="penguins")
    table = ["--data", str(PENGUINS), "--target", "species"]
    workspace.train(*table, "--n-estimators", "5", "--folds", "2")
    with serving(workspace) as (url, _):
        until(lambda: status(f"{url}/readyz") == 200)
        page = tab.page
        page.goto(f"{url}/docs")
        predict = page.locator(".opblock").filter(has=page.locator('[data-path="/predict"]'))
        predict.get_by_role("button", name="/predict").first.click()
        assert json.loads(predict.locator("textarea").input_value()).keys() == GENTOO.keys()
        with page.expect_response(f"{url}/predict") as caught:
            predict.get_by_role("button", name="Execute").click()
        assert caught.value.status == 200
        predict.get_by_text("Schema", exact=True).first.click()
        schema = predict.locator(".json-schema-2020-12").first
        for name in GENTOO:
            expect(schema.get_by_text(name, exact=True).first).to_be_visible()
        schema.get_by_text("Expand all", exact=True).first.click()  # of the first feature
        expect(schema).to_contain_text("Biscoe")
        assert (tab.asked_elsewhere, tab.errors) == ([], [])


# -- MLflow's pages


class Trainings:
    """A workspace with two trainings.

    Attributes:
        old, new: their model versions.
        page: the address of the experiment's page that a training prints.
    """

    def __init__(self, folder: Path) -> None:
        self.workspace = Workspace(folder)
        self.old = self.workspace.train("--n-estimators", "10", "--max-depth", "1")
        done = self.workspace.run("train_model.py", "--n-estimators", "20")
        self.page = re.findall(r"http://localhost:5000/\S+", done.stdout)[0]
        self.new = self.workspace.versions()[-1]

    def metadata(self, version: str) -> Any:
        return json.loads((self.workspace.artifacts / version / "metadata.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> Trainings:
    return Trainings(tmp_path_factory.mktemp("trainings"))


@contextmanager
def mlflow_ui(folder: Path) -> Iterator[str]:
    """The MLflow UI, started in the folder as the README says: its address."""
    with mlflow_process("ui", folder, "--backend-store-uri", "file:./mlruns") as url:
        yield url


@pytest.fixture(scope="module")
def ui(trainings: Trainings) -> Iterator[str]:
    with mlflow_ui(trainings.workspace.folder) as url:
        yield url


def open_experiment(page: Page, ui: str) -> None:
    """Opens the experiment from MLflow's first page, which shows language models until one switches to trainings."""
    page.goto(ui)
    page.get_by_role("button", name="Model training", exact=True).click()
    page.get_by_role("link", name="iris-classifier", exact=True).click()


def open_run(page: Page, ui: str, version: str) -> None:
    open_experiment(page, ui)
    page.get_by_role("link", name=version, exact=True).click()
    expect(page.get_by_role("tab", name="Overview")).to_be_visible()


def expect_artifacts(page: Page, version: str) -> None:
    """On the page of a run, the model card, every plot, and the table of importances open."""
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("model_card.md", exact=True).click()
    expect(page.get_by_role("heading", name=f"iris-classifier {version}")).to_be_visible()
    expect(page.get_by_role("heading", name="What it is not for")).to_be_visible()
    page.get_by_text("plots", exact=True).click()
    for plot in PLOTS:
        page.get_by_text(f"{plot}.png", exact=True).click()
        expect_loaded(page.get_by_role("img", name=f"plots/{plot}.png"))
    page.get_by_text("feature_importances.csv", exact=True).click()
    expect(page.get_by_role("columnheader", name="impurity_std")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile(r"^petal_width \d"))).to_be_visible()


def expect_loaded(image: Locator) -> None:
    """The image has pixels; a broken one has none."""
    expect(image).to_be_visible()
    image.page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=image.element_handle())


def test_experiment_page_lists_the_runs_with_their_metrics(ui: str, trainings: Trainings, tab: Tab) -> None:
    """The experiment's page lists the runs by model version, the newest first, and shows any metric as a column."""
    page = tab.page
    open_experiment(page, ui)
    runs = page.get_by_role("link", name=re.compile(r"^\d{8}_\d{6}$"))
    expect(runs).to_have_text([trainings.new, trainings.old])
    page.get_by_role("button", name="Columns").click()
    page.get_by_placeholder("Search columns").fill("test_log_loss")
    page.get_by_text("test_log_loss", exact=True).click()
    page.keyboard.press("Escape")
    losses = [trainings.metadata(version)["metrics"]["test_log_loss"] for version in (trainings.new, trainings.old)]
    assert losses[0] != losses[1]
    cells = page.locator("[role=gridcell][col-id='metrics.`test_log_loss`']")
    expect(cells).to_have_text([str(loss) for loss in losses])


def test_printed_page_shows_metrics_and_hyperparameters(ui: str, trainings: Trainings, tab: Tab) -> None:
    """The page whose address a training prints lists the runs, with metrics and hyperparameters as columns."""
    page = tab.page
    page.goto(trainings.page.replace("http://localhost:5000", ui))
    expect(page.get_by_role("link", name=re.compile(r"^\d{8}_\d{6}$"))).to_have_text([trainings.new, trainings.old])
    expect(page.locator("[role=gridcell][col-id='params.`n_estimators`']")).to_have_text(["20", "10"])
    for metric in ("test_accuracy", "test_log_loss", "cv_accuracy_mean"):
        values = [trainings.metadata(version)["metrics"][metric] for version in (trainings.new, trainings.old)]
        shown = page.locator(f"[role=gridcell][col-id='metrics.`{metric}`']")
        expect(shown).to_have_text([str(value) for value in values])


def test_run_page_shows_the_model_card(ui: str, trainings: Trainings, tab: Tab) -> None:
    """The run's page has the model card as its description, and the metrics and hyperparameters below it."""
    page = tab.page
    open_run(page, ui, trainings.new)
    card = page.get_by_test_id("note-editor-preview-content")
    expect(card.get_by_role("heading", name=f"iris-classifier {trainings.new}")).to_be_visible()
    page.get_by_text("Show more", exact=True).click()
    expect(card.get_by_role("heading", name="What it is not for")).to_be_in_viewport()
    page.get_by_placeholder("Search metrics").fill("test_accuracy")
    accuracy = trainings.metadata(trainings.new)["metrics"]["test_accuracy"]
    metric = page.get_by_role("row").filter(has=page.get_by_role("link", name="test_accuracy", exact=True))
    expect(metric).to_contain_text(str(accuracy))
    page.get_by_placeholder("Search parameters").fill("n_estimators")
    expect(page.get_by_role("row").filter(has_text="n_estimators").last).to_contain_text("20")


def test_artifacts_of_a_run_open(ui: str, trainings: Trainings, tab: Tab) -> None:
    """The artifact view of a run opens the model card, every plot, and the importances as a table."""
    open_run(tab.page, ui, trainings.new)
    expect_artifacts(tab.page, trainings.new)


def test_model_page_shows_the_newest_version_as_champion(ui: str, trainings: Trainings, tab: Tab) -> None:
    """The page of the registered model lists both versions with their model versions, and the newest is the
    champion."""
    page = tab.page
    page.goto(f"{ui}/#/models/iris-classifier")
    row = page.get_by_role("row")
    old = row.filter(has=page.get_by_role("link", name="Version 1", exact=True))
    new = row.filter(has=page.get_by_role("link", name="Version 2", exact=True))
    expect(new).to_contain_text(trainings.new)
    expect(new).to_contain_text("@ champion")
    expect(old).to_contain_text(trainings.old)
    expect(old).not_to_contain_text("@ champion")


def test_artifacts_open_after_the_folder_has_moved(trainings: Trainings, tab: Tab) -> None:
    """In a folder that was moved after the training, the MLflow UI opens the artifacts of the runs from before."""
    home = trainings.workspace.folder
    moved = home.rename(home.with_name("moved elsewhere"))
    try:
        with mlflow_ui(moved) as url:
            open_run(tab.page, url, trainings.old)
            expect_artifacts(tab.page, trainings.old)
    finally:
        moved.rename(home)
