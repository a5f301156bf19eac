"""Reports of a number: the card, the lines in the terminal, and the plots."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tabserve.model import Estimate, ModelMetadata, Regression
from tabserve.reporting import dataset_warnings, describe_dataset, headline, model_card, model_limits
from tabserve.reporting.plots import save
from tabserve.reporting.regression import draw_error_by_decile, draw_predicted, draw_residuals, summary_lines
from tabserve.training import EstimatorConfig, fitting, metric_text
from tests.support import number_tables
from tests.support.models import Trained, metadata

INTERVALS = {"interval_bounds": (90_000.0,), "interval_radii": (5000.0, 20_000.0)}


@pytest.fixture(scope="module")
def houses() -> Trained:
    table = number_tables.as_dataset(number_tables.houses(100), "SalePrice")
    table = replace(table, task=table.task.model_copy(update=INTERVALS), task_reason="it has fractions")
    return Trained(trees=2, table=table)


def described(trained: Trained) -> ModelMetadata:
    """Metadata of a number without a MAPE, which isn't defined for every table."""
    names = ("mae", "rmse", "r2", "median_absolute_error")
    metrics = {f"test_{name}": 1234.5 + number for number, name in enumerate(names)}
    metrics |= {f"cv_{name}_{kind}": 0.5 for name in names for kind in ("mean", "std")}
    metrics |= {"test_interval_width": 250_000.25, "test_pinball_loss": 12.0}
    held = Estimate(value=0.9, low=0.75, high=0.95)
    about = {"metrics": metrics, "parameters": {"folds": 5}, "interval_coverage": held}
    return metadata(trained.schema).model_copy(update=about)


def test_card_has_the_metrics_that_are_defined_and_the_intervals(houses: Trained) -> None:
    """The card has each metric that was measured, and no other; the range of the target; and what the intervals hold,
    with their widths."""
    card = model_card(described(houses), houses.schema)
    task = houses.schema.task
    assert isinstance(task, Regression)
    assert f"predicts the number SalePrice from 6 features. In training it was from {task.target_minimum:g} to " in card
    assert "MAE 1234.5000 on 30 held-out rows, 0.5000 ± 0.5000 in 5-fold cross-validation." in card
    assert "| median_absolute_error | 1237.5000 | 0.5000 ± 0.5000 |" in card
    assert "mape" not in card
    assert "90% of the true numbers hold 90.0% (75.0% to 95.0%) of the held-out rows" in card
    assert "Their mean width is 250000.2" in card
    assert "half a width is 5000 to 2e+04, by the prediction" in card


def test_limits_say_that_a_forest_stays_in_the_range_of_the_target(houses: Trained) -> None:
    """A forest can't leave the range of the target; a linear model can, and nothing has verified that."""
    task = houses.schema.task
    assert isinstance(task, Regression)
    seen = f"{task.target_minimum:g} to {task.target_maximum:g}"
    limits = model_limits(described(houses), houses.schema, houses.pipeline)
    assert f"It can't predict a number outside of {seen}, the range of the target in training." in limits
    line = fitting.fit(houses.parts.training, EstimatorConfig("ridge"), 0)
    limits = model_limits(described(houses), houses.schema, line)
    assert f"In training the target was {seen}: predictions outside of that are not verified by any row." in limits


def test_terminal_shows_the_number_its_reason_and_its_intervals(houses: Trained) -> None:
    """The table's description has the range of the target and why it is a number; a column that knows it is named with
    its R²; the end of a training says what the intervals hold."""
    whole = houses.parts.whole
    assert "because it has fractions: --task classification predicts classes" in describe_dataset(whole, [])
    (warning,) = dataset_warnings(whole, {"tax": 0.9951})
    assert "'tax' alone predicts SalePrice with an R² of 0.9951: is it known before" in warning
    assert headline(described(houses), "regression") == "mae 1234.5000, rmse 1235.5000, r2 1236.5000"
    held = "  intervals hold 90.0% (75.0% to 95.0%) of the held-out rows; mean width 250000.2"
    assert summary_lines(described(houses)) == ["", held]


@pytest.mark.parametrize("rows", [1, 3, 20_000])
def test_plots_are_drawn_for_any_number_of_rows(rows: int, houses: Trained, tmp_path: Path) -> None:
    """Few rows and very many make a plot of each kind, in a small file."""
    task = houses.schema.task
    assert isinstance(task, Regression)
    truth = np.random.default_rng(0).normal(1e5, 1e4, rows)
    save(tmp_path / "1.png", lambda axes: draw_predicted(axes, truth, truth[::-1], task))
    save(tmp_path / "2.png", lambda axes: draw_residuals(axes, truth, truth[::-1], task))
    save(tmp_path / "3.png", lambda axes: draw_error_by_decile(axes, truth, truth[::-1]))
    assert all(5000 < path.stat().st_size < 250_000 for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.0000"), (0.96667, "0.9667"), (-12.5, "-12.5000"), (99_999.0, "99999.0000"), (250_000.25, "250000.2"),
     (0.00004321, "4.32e-05"), (-1.5e-9, "-1.5e-09")],
)  # fmt: skip
def test_metric_is_shown_with_the_digits_that_it_needs(value: float, text: str) -> None:
    """A metric has four digits behind the point, unless it is very large or very small."""
    assert metric_text(value) == text
    assert metric_text(value, "+").lstrip("+") == text
