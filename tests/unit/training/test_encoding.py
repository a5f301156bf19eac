"""How features become columns: no encoding loses in silence what the target depends on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io

from tabserve.errors import DataError
from tabserve.training import (
    EncodingOptions,
    EstimatorConfig,
    compiler,
    dataset,
    encoding,
    fitting,
    parity,
    task_training,
)
from tabserve.training.cross_validation import cross_validate
from tabserve.training.dataset import Dataset
from tabserve.training.encoding import FeatureEncoding, feature_encodings
from tabserve.training.pipeline import TRUSTED_TYPES, encodings_for
from tabserve.training.schema_inference import infer_schema
from tests.support.models import metadata

ROWS = 600

SMALL: Mapping[str, Mapping[str, int]] = {
    "random-forest": {"n_estimators": 10},
    "extra-trees": {"n_estimators": 10},
    "hist-gradient-boosting": {"max_iter": 10},
    "logistic-regression": {},
}


def table(target: Any, **columns: Any) -> Dataset:
    features = pd.DataFrame(columns)
    kind = pd.Series(np.where(target, "yes", "no"), name="kind").astype(object)
    missing = {str(name): int(count) for name, count in features.isna().sum().items() if count}
    return Dataset("drawn", features, kind, task_training("classification").model_task(kind), missing)


def accuracy(drawn: Dataset, estimator: str, encoding: EncodingOptions) -> float:
    """On the held-out rows."""
    parts = dataset.split(drawn, 0.25, seed=0)
    pipeline = fitting.fit(parts.training, EstimatorConfig(estimator, SMALL[estimator], encoding), 0)
    return float(pipeline.score(parts.held_out.features, parts.held_out.target))


def encoding_of(texts: Sequence[str | None], *, encode: Any = "auto", rare: float = 5) -> FeatureEncoding:
    drawn = table([True, False] * (len(texts) // 2), texts=pd.Series(texts, dtype="str"))
    (found,) = feature_encodings(drawn, EncodingOptions(encode, rare), keeps_missing=False)
    return found


@pytest.mark.parametrize("estimator", sorted(SMALL))
def test_gaps_that_tell_the_target_are_seen(estimator: str) -> None:
    """Where only the gaps of a column tell the target, every estimator learns it, of a column of many numbers and of
    one that is constant or missing; without indicators, those that fill gaps with medians can't."""
    rng = np.random.default_rng(0)
    gaps = rng.random(ROWS) < 0.5
    for values in (rng.normal(size=ROWS), np.ones(ROWS)):
        drawn = table(gaps ^ (rng.random(ROWS) < 0.1), x=pd.Series(values).mask(gaps), w=rng.normal(size=ROWS))
        assert accuracy(drawn, estimator, EncodingOptions()) > 0.7
    blind = accuracy(drawn, estimator, EncodingOptions(missing_indicators=False))
    assert (blind > 0.7) == (estimator == "hist-gradient-boosting")


@pytest.mark.parametrize("estimator", sorted(SMALL))
@pytest.mark.parametrize("encode", ["auto", "target"])
def test_many_valued_category_tells_the_target(estimator: str, encode: Any) -> None:
    """A category of 120 values, each in under 1 % of the rows, that tells the target does so with every estimator."""
    codes = np.random.default_rng(0).permutation(np.arange(1200) % 120)
    drawn = table(codes % 3 == 0, code=pd.Series([f"c{code}" for code in codes], dtype="str"))
    assert accuracy(drawn, estimator, EncodingOptions(encode)) > 0.95


def test_feature_with_few_categories_is_one_hot_unless_all_are_rare() -> None:
    """Up to 30 categories are one-hot, more are encoded by the target, and so are those that all are rare. An option
    decides otherwise."""
    few, many = [f"c{number % 30}" for number in range(300)], [f"c{number % 31}" for number in range(620)]
    assert [encoding_of(texts).kind for texts in (few, many, few[:60])] == ["one-hot", "target", "target"]
    assert [encoding_of(texts, encode="one-hot").kind for texts in (few, many)] == ["one-hot", "one-hot"]
    assert encoding_of(few, encode="target").kind == "target"


@pytest.mark.parametrize(("rare", "pooled"), [(1, {}), (3, {"b": 2}), (0.05, {"b": 2, "c": 4}), (0.021, {"b": 2})])
def test_categories_below_the_limit_share_a_column(rare: float, pooled: dict[str, int]) -> None:
    """A one-hot category with fewer rows than the limit, which is a number of rows or a share, is pooled; the schema
    has it behind the others, and warns of it in its own words."""
    texts = pd.Series(["b"] * 2 + ["c"] * 4 + ["a"] * 94, dtype="str")
    drawn = table([True, False] * 50, texts=texts)
    config = EstimatorConfig(encoding=EncodingOptions(rare=rare))
    (found,) = encodings_for(drawn, config)
    assert found.pooled == pooled
    schema = infer_schema(drawn, fitting.fit(drawn, config, 0))
    (feature,) = schema.features
    assert feature.kind == "category"
    assert feature.categories == (*sorted({"a", "b", "c"} - pooled.keys()), *pooled)
    assert feature.pooled == len(pooled)
    warned = {text: [one.message for one in schema.warnings(schema.row({"texts": text}))] for text in ("a", "b", "z")}
    too_rare = "too rare in training: the model doesn't tell it from other rare categories"
    assert warned == {
        "a": [], "b": [too_rare] if pooled else [], "z": ["not one of the 3 categories seen in training"]
    }  # fmt: skip


def test_one_hot_columns_that_need_too_much_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One-hot encoding that was asked for, and would take more memory than the limit, is refused in a line that says
    what to do; pooling more categories helps."""
    texts = [f"c{number % 50}" for number in range(200)]
    monkeypatch.setattr(encoding, "MAX_ONE_HOT_BYTES", 200 * 49 * 8)
    with pytest.raises(
        DataError, match=r"^one-hot columns for 'texts' would take .* --encode auto, or a larger --rare$"
    ):
        encoding_of(texts, encode="one-hot", rare=1)
    assert encoding_of(texts, encode="one-hot", rare=5).kind == "one-hot"
    assert encoding_of(texts).kind == "target"


def test_losses_are_told_with_the_option_that_undoes_them() -> None:
    """Pooled categories are told with their number and rows, a gap that counts as rare among them, and hidden gaps;
    whatever loses nothing says nothing."""
    rare = encoding_of(["a"] * 193 + ["b"] * 4 + [None] * 3)
    shared = "1 category of fewer than 5 rows and missing values share a column (7 rows)"
    assert (rare.lost, rare.undo) == (shared, "--rare 1")
    assert rare.pooled == {"b": 4, "(missing)": 3}
    for pooled, lost in (
        ("bbbbc", "2 categories of fewer than 5 rows share a column (5 rows)"),
        ("b", "1 category of fewer than 5 rows counts as an unknown one (1 row)"),
    ):
        assert encoding_of(["a"] * 193 + list(pooled)).lost == lost
    gaps = encoding_of(["a"] * 193 + [None] * 3)
    assert gaps.lost == "missing values count as an unknown category (3 rows)"
    many = encoding_of([f"c{number}" for number in range(200)] * 2)
    assert (many.lost, many.undo) == ("", "")
    drawn = table([True, False] * 50, x=[1.0, 2.0, 3.0, None] * 25, y=np.arange(100.0))
    hidden = EncodingOptions(missing_indicators=False)
    for estimator, options, told in (
        ("random-forest", EncodingOptions(), ("", "")),
        ("random-forest", hidden, ("the model can't see which values are missing", "--missing-indicators")),
        ("hist-gradient-boosting", hidden, ("", "")),
    ):
        first, second = encodings_for(drawn, EstimatorConfig(estimator, encoding=options))
        assert [(first.lost, first.undo), (second.lost, second.undo)] == [told, ("", "")]


@pytest.mark.parametrize("estimator", sorted(SMALL))
def test_column_of_which_a_fold_has_no_value_is_cross_validated(estimator: str) -> None:
    """A number and a category that a single row has are no obstacle for the fold that measures on that row; a model of
    rows without any value is refused with the option that helps."""
    one = np.arange(60) == 7
    drawn = table(np.arange(60) % 2, x=np.where(one, 1.0, np.nan), w=np.arange(60.0) % 7,
                  text=pd.Series("a", range(60), dtype="str").where(one))  # fmt: skip
    config = EstimatorConfig(estimator, SMALL[estimator])
    assert len(cross_validate(drawn, config, folds=2, seed=0).folds["accuracy"]) == 2
    without = drawn.part(np.flatnonzero(~one))
    with pytest.raises(DataError, match=r"^column 'x' has no value in the training rows: --drop 'x'$"):
        infer_schema(without, fitting.fit(without, config, 0))


@pytest.mark.parametrize("estimator", sorted(SMALL))
def test_pipeline_of_every_encoding_is_read_back_without_pickle(estimator: str) -> None:
    """A pipeline with every kind of encoding is loaded by skops with the types that MLflow is told to trust, and
    predicts the same."""
    rng = np.random.default_rng(0)
    drawn = table(
        rng.random(ROWS) < 0.5,
        x=pd.Series(rng.normal(size=ROWS)).mask(rng.random(ROWS) < 0.2),
        few=pd.Series(rng.choice(["a", "b"], ROWS), dtype="str"),
        many=pd.Series([f"c{code}" for code in rng.integers(0, 50, ROWS)], dtype="str"),
    )
    pipeline = fitting.fit(drawn, EstimatorConfig(estimator, SMALL[estimator]), 0)
    read_back = skops.io.loads(skops.io.dumps(pipeline), trusted=TRUSTED_TYPES)
    assert np.array_equal(read_back.predict_proba(drawn.features), pipeline.predict_proba(drawn.features))


def hidden_effects() -> Dataset:
    """40 categories whose effect on the target is cancelled by a number that goes with them, so that the mean of the
    target is the same with each category."""
    rng = np.random.default_rng(0)
    effects, codes = rng.normal(0, 1, 40), rng.integers(0, 40, 4000)
    number = rng.normal(0, 1, 4000) - effects[codes]
    texts = pd.Series([f"c{code}" if code else None for code in codes], dtype="str")
    return table(number + effects[codes] + rng.normal(0, 0.1, 4000) > 0, number=number, texts=texts)


def test_linear_model_learns_effects_that_the_mean_of_the_target_hides() -> None:
    """A linear model has columns for each of many categories beside the numbers of the target, and so learns what
    those numbers can't tell; trees, and --encode target, have the numbers alone."""
    drawn, by_target = hidden_effects(), EncodingOptions("target")
    assert accuracy(drawn, "logistic-regression", EncodingOptions()) > 0.84
    assert accuracy(drawn, "logistic-regression", by_target) < 0.81
    numbers = "numbers: what the target was with each category"
    for estimator, options, told in (
        ("logistic-regression", EncodingOptions(), f"{numbers}, and a column for each"),
        ("logistic-regression", by_target, numbers),
        ("random-forest", EncodingOptions(), numbers),
    ):
        encodings = encodings_for(drawn, EstimatorConfig(estimator, encoding=options))
        assert [one.made for one in encodings if one.name == "texts"] == [told]


def test_both_encodings_of_a_feature_are_compiled(tmp_path: Path) -> None:
    """A feature with both gives scikit-learn's outputs, for known, rare, unknown and missing categories."""
    drawn = hidden_effects()
    pipeline = fitting.fit(drawn, EstimatorConfig("logistic-regression"), 0)
    schema = infer_schema(drawn, pipeline)
    release = compiler.write_release(tmp_path / "release", pipeline, schema, drawn, metadata(schema))
    assert parity.prove_parity(release, pipeline, drawn, 0).difference < 1e-13


def test_one_hot_columns_beside_the_target_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take at most the memory of the limit, all features together."""
    monkeypatch.setattr(encoding, "MAX_BESIDE_BYTES", 4000 * 8 * 25)
    drawn = hidden_effects()
    pipeline = fitting.fit(drawn, EstimatorConfig("logistic-regression"), 0)
    assert pipeline[:-1].transform(drawn.features).shape[1] == 1 + 1 + 25
