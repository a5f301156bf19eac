"""What a person sees in a browser: the API's page, and MLflow's, in a real Chromium without the internet."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Locator, Page, Route, expect, sync_playwright

from api_checks.client import Api
from tests.support.models import GENTOO
from tests.support.project import PENGUINS, PYTHON
from tests.support.servers import serving
from tests.support.waiting import status, until
from tests.support.workspaces import Workspace

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMIUM_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
CHROMIUM_OPTIONS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
PLOTS = ("calibration", "confusion_matrix", "feature_importances", "roc")
SECONDS = 60
"""What a page or a server may take on a machine that is busy."""

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium here: nobody looked at /docs and at the MLflow UI"
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
    """A page as someone sees it who was never here before, and to whom only this machine answers."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.asked_elsewhere: list[str] = []
        self.errors: list[str] = []
        page.set_default_timeout(SECONDS * 1000)
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
def _patience() -> Iterator[None]:
    expect.set_options(timeout=SECONDS * 1000)
    yield
    expect.set_options(timeout=5000)


# -- the API's page


def test_docs_predict_without_the_internet(api: Api, tab: Tab) -> None:
    """/docs loads all it needs from its own server, and its example, executed, is answered with the live version."""
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


def test_docs_show_the_features_of_any_table(tmp_path: Path, tab: Tab) -> None:
    """Of a model of another table /docs shows the features by their names, with their categories, and the example,
    executed, is answered."""
    workspace = Workspace(tmp_path, model_name="penguins")
    table = ["--data", str(PENGUINS), "--target", "species"]
    workspace.train(*table, "--n-estimators", "5", "--folds", "2")
    with serving(workspace) as (url, _):
        until(lambda: status(f"{url}/readyz") == 200, SECONDS)
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
    """A folder in which two models were trained, the newest last."""

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


@contextlib.contextmanager
def mlflow_ui(folder: Path) -> Iterator[str]:
    """Starts the MLflow UI in `folder` as the README says, and gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [PYTHON, "-m", "mlflow", "ui", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", "file:./mlruns"]
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment |= {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (
        (folder / "ui.log").open("wb") as log,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log) as server,
    ):
        try:
            wait_until_up(f"http://127.0.0.1:{port}", server, Path(log.name))
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            try:
                server.wait(timeout=30)
            except subprocess.TimeoutExpired:
                server.kill()


def wait_until_up(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 2 * SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{url}/health", timeout=10).ok:
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = server.wait(timeout=0.1)
            raise AssertionError(f"the MLflow UI ended with status {status}: {log.read_text()[-1000:]}")
    raise AssertionError(f"the MLflow UI was not up in time: {log.read_text()[-1000:]}")


@pytest.fixture(scope="module")
def ui(trainings: Trainings) -> Iterator[str]:
    with mlflow_ui(trainings.workspace.folder) as url:
        yield url


def open_experiment(page: Page, ui: str) -> None:
    """MLflow greets with its pages for language models: the runs are behind the other half of that switch."""
    page.goto(ui)
    page.get_by_role("button", name="Model training", exact=True).click()
    page.get_by_role("link", name="iris-classifier", exact=True).click()


def open_run(page: Page, ui: str, version: str) -> None:
    open_experiment(page, ui)
    page.get_by_role("link", name=version, exact=True).click()
    expect(page.get_by_role("tab", name="Overview")).to_be_visible()


def expect_artifacts(page: Page, version: str) -> None:
    """On the page of a run: the card, the plots and the importances open and are what they should be."""
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
    """The picture is there and has pixels; a broken one has none."""
    expect(image).to_be_visible()
    image.page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=image.element_handle())


def test_the_experiment_lists_its_runs_with_their_metrics(ui: str, trainings: Trainings, tab: Tab) -> None:
    """The experiment's page lists the runs by model version, the newest first, and any metric as a column."""
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


def test_the_printed_page_shows_the_metrics(ui: str, trainings: Trainings, tab: Tab) -> None:
    """The page whose address a training prints lists the runs with metrics and hyperparameters as columns."""
    page = tab.page
    page.goto(trainings.page.replace("http://localhost:5000", ui))
    expect(page.get_by_role("link", name=re.compile(r"^\d{8}_\d{6}$"))).to_have_text([trainings.new, trainings.old])
    expect(page.locator("[role=gridcell][col-id='params.`n_estimators`']")).to_have_text(["20", "10"])
    for metric in ("test_accuracy", "test_log_loss", "cv_accuracy_mean"):
        values = [trainings.metadata(version)["metrics"][metric] for version in (trainings.new, trainings.old)]
        shown = page.locator(f"[role=gridcell][col-id='metrics.`{metric}`']")
        expect(shown).to_have_text([str(value) for value in values])


def test_a_run_is_described_by_its_model_card(ui: str, trainings: Trainings, tab: Tab) -> None:
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


def test_the_artifacts_of_a_run_open(ui: str, trainings: Trainings, tab: Tab) -> None:
    """The artifacts' view of a run opens the model card, every plot, and the importances as a table."""
    open_run(tab.page, ui, trainings.new)
    expect_artifacts(tab.page, trainings.new)


def test_the_newest_version_is_champion(ui: str, trainings: Trainings, tab: Tab) -> None:
    """The registered model has both versions, tagged with their model versions, and the newest is the champion."""
    page = tab.page
    page.goto(f"{ui}/#/models/iris-classifier")
    row = page.get_by_role("row")
    old = row.filter(has=page.get_by_role("link", name="Version 1", exact=True))
    new = row.filter(has=page.get_by_role("link", name="Version 2", exact=True))
    expect(new).to_contain_text(trainings.new)
    expect(new).to_contain_text("@ champion")
    expect(old).to_contain_text(trainings.old)
    expect(old).not_to_contain_text("@ champion")


def test_a_moved_folder_shows_its_artifacts(trainings: Trainings, tab: Tab) -> None:
    """In a folder that was moved after the training, the MLflow UI opens the artifacts of the runs from before."""
    home = trainings.workspace.folder
    moved = home.rename(home.with_name("moved elsewhere"))
    try:
        with mlflow_ui(moved) as url:
            open_run(tab.page, url, trainings.old)
            expect_artifacts(tab.page, trainings.old)
    finally:
        moved.rename(home)
