"""What holds of a model of classes only."""

import math

from api_checks.client import Api
from api_checks.expectations import expect, expect_equal

TYPICAL_FLOWERS = {
    "setosa": {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2},
    "versicolor": {"sepal_length": 5.9, "sepal_width": 2.8, "petal_length": 4.3, "petal_width": 1.3},
    "virginica": {"sepal_length": 6.7, "sepal_width": 3.1, "petal_length": 5.7, "petal_width": 2.3},
}


def test_known_flowers_are_recognized(api: Api) -> None:
    """A typical flower of each species is predicted as that species. (Only for a model of Iris.)"""
    for species, values in TYPICAL_FLOWERS.items():
        expect_equal("label", api.predict(values)["label"], species)


def test_label_is_the_class_at_the_index(api: Api) -> None:
    """The label is the class at the predicted index, in the order of the classes in /model/info."""
    classes = api.json("/model/info")["classes"]
    expect(len(classes) >= 2, f"classes {classes}")
    for values in api.model.rows:
        reply = api.predict(values)
        expect_equal("the class at the index", classes[reply["prediction"]], str(reply["label"]))
        expect_equal("the number of probabilities", len(reply["prediction_proba"]), len(classes))


def test_probabilities_sum_to_one(api: Api) -> None:
    """Probabilities sum to 1. The prediction is the index of the largest, or of the class that the decision threshold
    gives, and the confidence is its probability."""
    info = api.json("/model/info")
    for values in api.model.rows:
        reply = api.predict(values)
        probabilities = reply["prediction_proba"]
        expect(math.isclose(sum(probabilities), 1, abs_tol=1e-6), f"they sum to {sum(probabilities)!r}")
        expect(all(0 <= value <= 1 for value in probabilities), f"{probabilities} are not probabilities")
        expected = probabilities.index(max(probabilities))
        if info["threshold"] is not None:
            positive = info["classes"].index(info["positive"])
            expected = positive if probabilities[positive] >= info["threshold"] else 1 - positive
        expect_equal("prediction", reply["prediction"], expected)
        expect_equal("confidence", reply["confidence"], probabilities[expected])


def test_prediction_set_has_the_probable_classes(api: Api) -> None:
    """A prediction set has the predicted class and every other one that has the least probability, in the order of the
    classes; its coverage is that in /model/info."""
    info = api.json("/model/info")
    for values in api.model.rows:
        reply = api.predict(values)
        pairs = zip(info["classes"], reply["prediction_proba"], strict=True)
        expected = [name for name, share in pairs if share >= info["least_probability"] or name == str(reply["label"])]
        expect_equal("the prediction set", [str(label) for label in reply["prediction_set"]], expected)
        expect_equal("coverage", reply["coverage"], info["coverage"])


def test_classes_are_counted(api: Api) -> None:
    """/metrics counts predictions by class, with their mean confidence."""
    before = api.json("/metrics")["predictions_by_class"]
    api.predict(api.model.example)
    after = api.json("/metrics")
    counts = sum(before.values()), sum(after["predictions_by_class"].values())
    expect(
        counts[1] > counts[0], f"the counts of all classes are {counts[1]}, and were {counts[0]} before a prediction"
    )
    expect(0 < after["mean_confidence"] <= 1, f"mean_confidence {after['mean_confidence']}")
    text = api.get("/metrics/prometheus").text
    expect("\nmodel_prediction_confidence_bucket{" in text, "model_prediction_confidence is missing")


def test_accuracy_is_described(api: Api) -> None:
    """/model/info has the accuracy on the held-out rows."""
    accuracy = api.json("/model/info")["metrics"]["test_accuracy"]
    expect(0 < accuracy <= 1, f"accuracy {accuracy}")
