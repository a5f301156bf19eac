"""Plots: how a figure looks and is saved, and the plot that every task has."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tabserve.reporting.tasks import Draw

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000")
"""The palette of Okabe and Ito, distinguishable with every common colour vision."""


def save(file: Path, draw: Draw) -> None:
    """Draws a plot into a file."""
    figure = Figure(figsize=(6, 4.5), dpi=110, layout="constrained")
    axes = figure.subplots()
    draw(axes)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, metadata={"Software": None})


def draw_importances(axes: Axes, importances: pd.DataFrame) -> None:
    """Both kinds of importances of each feature. `importances` is that of an `Evaluation`."""
    ordered = importances.iloc[::-1]
    positions = np.arange(len(ordered))
    for offset, kind, colour in ((0.2, importances.columns[1], COLOURS[0]), (-0.2, "permutation", COLOURS[1])):
        deviation = ordered[f"{kind}_std"]
        axes.barh(positions + offset, ordered[kind], 0.38, xerr=deviation, color=colour, label=kind, ecolor="0.4")
    axes.axvline(0, color="0.4", linewidth=1)
    axes.set(title="Feature importances", xlabel="importance (with deviation)", yticks=positions)
    axes.set_yticklabels(ordered["feature"])
    axes.legend(frameon=False, loc="lower right")
