"""Draws the throughputs as bars: benchmarks/RESULTS.png."""

from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.measure import CONNECTIONS

BARS = {
    "bare": ("bare ASGI reply, no work at all", "#c9ced6"),
    "ours": ("this project", "#1f6feb"),
    "plain": ("ordinary FastAPI, with this engine", "#e8a33d"),
    "compiled": ("the fastest peer, with this engine", "#c2703d"),
    "scikit-learn": ("the fastest peer, as documented", "#8c4a2f"),
}
"""What was measured → its label and colour."""


def draw(throughputs: dict[str, list[float]], file: Path) -> None:
    """Draws a group of bars per number of connections. `throughputs` has requests per second, in the order of
    `CONNECTIONS`."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    shown = [name for name in BARS if name in throughputs]
    width = 0.85 / len(shown)
    for i, name in enumerate(shown):
        label, color = BARS[name]
        centers = [group + (i - (len(shown) - 1) / 2) * width for group in range(len(CONNECTIONS))]
        bars = axes.bar(centers, throughputs[name], width * 0.92, label=label, color=color)
        axes.bar_label(bars, [f"{value:,.0f}" for value in throughputs[name]], fontsize=7, padding=2)
    axes.set_xticks(range(len(CONNECTIONS)), [f"{count} connection{'s' * (count > 1)}" for count in CONNECTIONS])
    axes.set_ylabel("requests/s, one core")
    axes.set_title("POST /predict, 100 trees on Iris", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    figure.savefig(file, dpi=110)
