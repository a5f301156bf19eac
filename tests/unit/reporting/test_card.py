"""The model card: its numbers are those of the metadata, and its limits are those of the model."""

import re

import pytest

from tabserve.model import ClassFacts, Estimate, ModelMetadata
from tabserve.reporting import model_card, model_limits
from tabserve.training import METRICS, ColumnOptions, EstimatorConfig, fitting
from tabserve.training.ingest import load_table
from tests.support.models import Trained, classes_of, metadata
from tests.support.project import PENGUINS

HALF = Estimate(value=0.5, low=0.25, high=0.75)


def facts(rows: int) -> ClassFacts:
    return ClassFacts(rows=rows, share=rows / 150, held_out_rows=rows // 5, precision=HALF, recall=HALF, f1=HALF)


def described(trained: Trained, *rows: int, **parameters: int) -> ModelMetadata:
    """Metadata in which each class has so many rows, and each metric another value."""
    names = METRICS["classification"].names
    metrics = {f"test_{name}": number / 100 for number, name in enumerate(names)}
    for number, name in enumerate(names):
        metrics |= {f"cv_{name}_mean": 0.5 + number / 100, f"cv_{name}_std": 0.0125}
    metrics |= {"test_set_coverage": 0.925, "test_set_size": 1.25}
    return metadata(trained.schema).model_copy(
        update={
            "metrics": metrics,
            "parameters": {"folds": 5, **parameters},
            "by_class": dict(zip(classes_of(trained.schema.task), map(facts, rows), strict=True)),
            "left_out": {"note": "free text"},
            "limits": ["It has never seen the sea."],
        }
    )


def test_card_has_the_numbers_of_the_metadata(trained: Trained) -> None:
    """Every metric, every class, every feature, what was left out, the limits, the hyperparameters and the origin are
    in the card."""
    card = model_card(described(trained, 50, 50, 50, n_estimators=20), trained.schema)
    assert card.startswith("# iris-classifier 20260101_000000\n")
    assert "that predicts species from 4 features. Classes: setosa, versicolor, virginica.\n" in card
    assert "Accuracy 0.0000 on 30 held-out rows, 0.5000 ± 0.0125 in 5-fold cross-validation." in card
    assert "| brier_score | 0.1000 | 0.6000 ± 0.0125 |" in card
    interval = "0.500 (0.250 to 0.750)"
    assert f"| setosa | 50 (33.3%) | 10 | {interval} | {interval} | {interval} |" in card
    assert all(f"| {name} | " in card for name in (*METRICS["classification"].names, *trained.schema.feature_names))
    assert "The most probable class is predicted.\n" in card
    assert "shall hold the true class of 90% of the rows hold it for 92.5% of the held-out\nrows, and have 1.25" in card
    assert "\nLeft out: note (free text).\n" in card
    assert "- It has never seen the sea.\n" in card
    assert "| n_estimators | 20 |" in card
    assert "SHA-256 `" + "0" * 64 in card


def test_limits_of_a_forest_of_numbers(trained: Trained) -> None:
    """A forest of numbers: what its metrics can't show, that it doesn't extrapolate, its classes, and its
    probabilities."""
    assert model_limits(described(trained, 50, 50, 50), trained.schema, trained.pipeline) == [
        "Its metrics can't show mistakes rarer than one in its 30 held-out rows.",
        "Outside the ranges of the training rows it doesn't extrapolate: it predicts as at their ends.",
        "It knows only the classes setosa, versicolor, virginica, and predicts one of them for any input.",
        "Its probabilities are shares of its trees' leaves: look at plots/calibration.png before you rely on them.",
    ]


def test_limits_name_imbalanced_classes_and_a_search(trained: Trained) -> None:
    """Imbalanced classes are a limit with their rows, and so is a choice of hyperparameters by cross-validation."""
    limits = model_limits(described(trained, 100, 30, 20, search=7), trained.schema, trained.pipeline)
    assert any("imbalanced: setosa has 100 rows, virginica 20." in limit for limit in limits)
    assert limits[-1].startswith("Its hyperparameters were the best of 7 in the cross-validation")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (EstimatorConfig("logistic-regression"), "it continues in a straight line"),
        (EstimatorConfig("logistic-regression"), "Its probabilities are computed from sums"),
        (EstimatorConfig("hist-gradient-boosting", {"max_iter": 2}), "Its probabilities are computed from sums"),
        (EstimatorConfig(hyperparameters={"n_estimators": 2, "max_leaf_nodes": 3}), "limited to 3 leaves each"),
    ],
)
def test_limits_depend_on_the_estimator(config: EstimatorConfig, sentence: str, trained: Trained) -> None:
    """How a model extrapolates, what its probabilities are made of, and a limit that its trees reached are limits."""
    pipeline = fitting.fit(trained.parts.training, config, 0)
    assert sentence in " ".join(model_limits(described(trained, 50, 50, 50), trained.schema, pipeline))


def test_leaf_limit_that_no_tree_reached_is_not_mentioned(trained: Trained) -> None:
    """A limit that is larger than every tree is no limit of the model."""
    config = EstimatorConfig(hyperparameters={"n_estimators": 2, "max_leaf_nodes": 1000})
    pipeline = fitting.fit(trained.parts.training, config, 0)
    assert "leaves each" not in " ".join(model_limits(described(trained, 50, 50, 50), trained.schema, pipeline))


def test_limits_of_categories() -> None:
    """A model with categories knows nothing of unknown ones, and can't tell rare ones apart; its limits say so, and the
    card says how many they are."""
    table = load_table(PENGUINS, ColumnOptions("species"), 7)
    table.features.loc[:2, "island"] = ["Anvers", "Booth", "Booth"]
    penguins = Trained(trees=2, table=table, seed=1)
    described_penguins = described(penguins, 152, 68, 124)
    limits = model_limits(described_penguins, penguins.schema, penguins.pipeline)
    assert any("knows nothing of categories that training didn't see" in sentence for sentence in limits)
    assert "It doesn't tell rare categories apart: 2 of island." in limits
    assert re.search(r"; 2 rare ones \([23] rows\) count as one \| ", model_card(described_penguins, penguins.schema))
