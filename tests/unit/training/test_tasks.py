"""The metrics of a task, and which value is the better one."""

import math

from tabserve.training import METRICS

METRIC = METRICS["classification"]


def test_better_follows_the_direction_of_the_metric() -> None:
    """More accuracy is better, less log loss is better, and any number is better than NaN. An equal value is not."""
    assert METRIC.is_better("accuracy", 0.9, 0.8)
    assert not METRIC.is_better("accuracy", 0.8, 0.9)
    assert METRIC.is_better("log_loss", 0.1, 0.2)
    assert not METRIC.is_better("log_loss", 0.2, 0.1)
    assert not METRIC.is_better("accuracy", 0.9, 0.9)
    assert not METRIC.is_better("log_loss", math.nan, 0.2)
    assert METRIC.is_better("log_loss", 0.2, math.nan)


def test_every_metric_that_can_be_chosen_is_measured() -> None:
    """Every choice of --metric, its default, and every metric with a direction is a metric of the evaluation."""
    assert {*METRIC.comparable, METRIC.default, *METRIC.lower_is_better} <= set(METRIC.names)
