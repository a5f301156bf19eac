"""The files that a training writes for people: plots, model card, importances, metadata, and the preprocessing step."""

from functools import partial
from pathlib import Path

import joblib

from tabserve.model import ModelMetadata
from tabserve.reporting import plots
from tabserve.reporting.card import model_card
from tabserve.reporting.tasks import task_reporting
from tabserve.training.result import TrainingResult


def write_report(folder: Path, result: TrainingResult, metadata: ModelMetadata) -> str:
    """Writes the files into `folder`, and returns the model card."""
    plots_folder = folder / "plots"
    plots_folder.mkdir()
    importances = result.evaluation.importances
    for name, draw in task_reporting(result.schema.task.kind).plots(result, metadata):
        plots.save(plots_folder / f"{name}.png", draw)
    plots.save(plots_folder / "feature_importances.png", partial(plots.draw_importances, importances=importances))
    importances.to_csv(folder / "feature_importances.csv", index=False)
    (folder / "metadata.json").write_text(metadata.model_dump_json(indent=2) + "\n", encoding="utf-8")
    name, preprocessing = result.pipeline.steps[0]
    joblib.dump(preprocessing, folder / f"{name}.joblib")
    card = model_card(metadata, result.schema)
    (folder / "model_card.md").write_text(card, encoding="utf-8")
    return card
