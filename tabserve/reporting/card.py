"""The model card: a page that says what a model predicts, how good it is, where it comes from, and what its limits
are."""

from sklearn.pipeline import Pipeline

from tabserve.model import Boolean, Category, Date, Feature, ModelMetadata, Number, Schema
from tabserve.reporting.tasks import task_reporting
from tabserve.reporting.text import is_measured, most_frequent, number_text, table_rows, with_deviation
from tabserve.training import METRICS, metric_text
from tabserve.training.estimators import family_of

CARD = """\
# {metadata.model_name} {metadata.model_version}

A {metadata.model_type} that {introduction}
{headline} {value} on {dataset.held_out_rows} held-out rows, {validated} in {folds}-fold cross-validation.

## How good it is

| metric | {dataset.held_out_rows} held-out rows | {folds}-fold cross-validation |
|---|---|---|
{metrics}

{results}
A permutation importance of 0 or less means that the held-out rows show no use of the feature.

## What it expects

| feature | in training | missing |
|---|---|---|
{features}

A value outside of this is answered with a warning, and so is a category that counts as one with others. A value that
was missing in some rows may be left out.
{columns}{left_out}
## What it is not for

{limits}

## Hyperparameters

| name | value |
|---|---|
{parameters}

## Where it comes from

Trained {metadata.trained_at} on {dataset.training_rows} of the {dataset.rows} rows of `{dataset.name}`
(SHA-256 `{dataset.sha256}`), git commit `{metadata.git_commit}`, MLflow run `{metadata.run_id}`.
"""


COLUMNS = """
## What was made of the columns of the table

| column | read as | becomes | lost | unless |
|---|---|---|---|---|
{columns}
"""


def model_card(metadata: ModelMetadata, schema: Schema) -> str:
    """The model card, as Markdown."""
    task, metrics = task_reporting(schema.task.kind), metadata.metrics
    names = [name for name in METRICS[schema.task.kind].names if is_measured(metrics, name)]
    headline_metric = METRICS[schema.task.kind].headline[0]
    return CARD.format(
        metadata=metadata,
        dataset=metadata.dataset,
        introduction=task.card_introduction(schema),
        headline=task.metric_title(headline_metric),
        value=metric_text(metrics[f"test_{headline_metric}"]),
        validated=with_deviation(metrics, headline_metric),
        folds=metadata.parameters["folds"],
        metrics=table_rows(
            [name, metric_text(metrics[f"test_{name}"]), with_deviation(metrics, name)] for name in names
        ),
        results=task.card_results(metadata, schema),
        features=table_rows(
            [feature.name, _seen_values(feature), str(feature.missing or "")] for feature in schema.features
        ),
        columns=COLUMNS.format(columns=_columns(metadata)) if metadata.columns else "",
        left_out="".join(f"\nLeft out: {name} ({reason})." for name, reason in metadata.left_out.items()),
        limits="\n".join(f"- {limit}" for limit in metadata.limits),
        parameters=table_rows([name, str(value)] for name, value in metadata.parameters.items()),
    )


def model_limits(metadata: ModelMetadata, schema: Schema, pipeline: Pipeline) -> list[str]:
    """What the model is not good for, in sentences."""
    estimator = pipeline[-1]
    family = family_of(estimator)
    sentences = [
        f"Its metrics can't show mistakes rarer than one in its {metadata.dataset.held_out_rows} held-out rows."
    ]
    if any(isinstance(feature, Number | Date) for feature in schema.features):
        sentences.append(
            "Outside the ranges of the training rows it continues in a straight line, which nothing has verified."
            if family.is_linear
            else "Outside the ranges of the training rows it doesn't extrapolate: it predicts as at their ends."
        )
    categories = [feature for feature in schema.features if isinstance(feature, Category)]
    if categories:
        sentences.append(
            "It knows nothing of categories that training didn't see: of those it predicts by the other features."
        )
    if pooled := [f"{feature.pooled} of {feature.name}" for feature in categories if feature.pooled]:
        sentences.append(f"It doesn't tell rare categories apart: {', '.join(pooled)}.")
    if leaves := family.reached_leaf_limit(estimator):
        sentences.append(
            f"Its trees were limited to {leaves:,} leaves each: it may have learnt less detail than the table has."
        )
    sentences += task_reporting(schema.task.kind).limits(metadata, schema, family)
    if trials := metadata.parameters.get("search"):
        sentences.append(
            f"Its hyperparameters were the best of {trials} in the cross-validation, so those metrics are a little too "
            "good. The held-out rows were not used for the choice."
        )
    return sentences


def _columns(metadata: ModelMetadata) -> str:
    return table_rows(
        [one.name, one.read_as, one.becomes, one.lost, f"`{one.undo}`" if one.undo else ""] for one in metadata.columns
    )


def _seen_values(feature: Feature) -> str:
    if isinstance(feature, Category):
        seen = most_frequent(dict(zip(feature.categories, feature.counts, strict=True)))
        rows = sum(feature.counts[feature.distinct :])
        return seen + f"; {feature.pooled} rare ones ({rows} rows) count as one" * (feature.pooled > 0)
    if isinstance(feature, Boolean):
        return most_frequent({"true": feature.trues, "false": feature.falses})
    if isinstance(feature, Date):
        return f"{feature.first} to {feature.last}"
    return f"{number_text(feature.minimum)} to {number_text(feature.maximum)}, mean {number_text(feature.mean, 3)}"
