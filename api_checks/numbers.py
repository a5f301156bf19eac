"""What holds of a model of a number only."""

from api_checks.client import Api
from api_checks.expectations import expect, expect_equal


def test_prediction_is_in_its_interval(api: Api) -> None:
    """The prediction lies between the two bounds of its interval, whose coverage is that in /model/info."""
    coverage = api.json("/model/info")["coverage"]
    for values in api.model.rows:
        reply = api.predict(values)
        low, high = reply["interval"]
        expect(low <= reply["prediction"] <= high, f"{reply['prediction']} is outside of {reply['interval']}")
        expect_equal("coverage", reply["coverage"], coverage)


def test_target_is_described(api: Api) -> None:
    """/model/info has the range of the target, its deciles in order, and how good the predictions and intervals are."""
    info = api.json("/model/info")
    low, high, deciles = info["target_minimum"], info["target_maximum"], info["target_deciles"]
    expect(low < high, f"the target is from {low} to {high}")
    expect(low <= min(deciles) and max(deciles) <= high, f"deciles {deciles} of {low} to {high}")
    expect_equal("the deciles", deciles, sorted(set(deciles)))
    expect(info["metrics"]["test_mae"] >= 0, f"MAE {info['metrics']['test_mae']}")
    expect(0 <= info["metrics"]["test_interval_coverage"] <= 1, f"metrics {info['metrics']}")


def test_numbers_are_counted(api: Api) -> None:
    """/metrics counts predictions in ranges of the target, and so does the Prometheus text."""
    version = api.predict(api.model.example)["model_version"]
    metrics = api.json("/metrics")
    counted = sum(metrics["predictions_by_range"][version].values())
    expect_equal("the predictions in all ranges", counted, metrics["predictions_by_version"][version])
    expect(metrics["mean_prediction"] is not None, "there is no mean prediction")
    expect("\nmodel_predicted_number_bucket{" in api.get("/metrics/prometheus").text, "the histogram is missing")
