"""A table of 30 features, numbers and categories, some with gaps: what it costs more than Iris' four numbers.

python -m benchmarks.mixed    this table alone, in two minutes
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import bodies
from benchmarks.load import Load, request, run
from benchmarks.measure import spread, table
from benchmarks.servers import LOAD_CORE, PROBE, ROOT, on_core, serving, store

ROWS, NUMBERS, CATEGORIES, GAPS = 1000, 18, 12, 6
"""Every so many columns have gaps, of a tenth of the rows."""

CONNECTIONS = (16, 64)


def drawn(count: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """Of three classes that are about as easy to tell as Iris': every third column has something to do with them."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, count)
    columns: dict[str, pd.Series] = {}
    for number in range(NUMBERS):
        mean = 10 * number + 3 * kind * (number % 3 == 0)
        columns[f"number_{number}"] = pd.Series(rng.normal(mean, 3).round(2))
    for number in range(CATEGORIES):
        levels = 2 + 2 * number
        level = rng.integers(0, levels, count)
        told = (number % 3 == 0) & (rng.random(count) < 0.5)
        column = np.where(told, kind % levels, level)
        columns[f"category_{number}"] = pd.Series([f"level {one}" for one in column], dtype="str")
    for name in list(columns)[::GAPS]:
        columns[name] = columns[name].mask(rng.random(count) < 0.1)
    return pd.DataFrame(columns).assign(kind=np.array(["low", "middle", "high"])[kind])


def singles(frame: pd.DataFrame) -> list[bytes]:
    """A request to `/predict` for each row, with what is missing left out."""
    records = frame.drop(columns="kind").to_dict("records")
    present = [{name: value for name, value in record.items() if not pd.isna(value)} for record in records]
    return [request("/predict", json.dumps(record).encode()) for record in present]


def train(workspace: Path, *options: str) -> None:
    command = [sys.executable, str(ROOT / "train_model.py"), *options]
    subprocess.run(command, env=os.environ | store(workspace), check=True, capture_output=True)


def report(workspace: Path, seconds: float, cycles: int) -> str:
    """`POST /predict` of both tables, each against the bare reply to the same bodies."""
    own = workspace / "mixed"  # the other measurements find one model, Iris'
    own.mkdir()
    drawn().to_csv(own / "mixed.csv", index=False)
    train(own, "--data", str(own / "mixed.csv"), "--target", "kind")
    sent = {"Iris": bodies.singles(bodies.rows(5000)), "30 features": singles(drawn(5000, seed=1))}
    probes = {"Iris": PROBE, "30 features": sent["30 features"][0]}
    places = {"Iris": workspace, "30 features": own}
    settings = {"Iris": {}, "30 features": {"TABSERVE_MODEL_NAME": "mixed"}}
    lines = []
    with ExitStack() as stack:
        bare = stack.enter_context(serving("bare", workspace))
        bare.wait_until_ready(PROBE)
        servers = {kind: stack.enter_context(serving("ours", places[kind], **settings[kind])) for kind in sent}
        for kind, server in servers.items():
            server.wait_until_ready(probes[kind])
            run(server.port, 16, seconds, sent[kind])
        for connections in CONNECTIONS:
            turns: list[dict[str, tuple[Load, Load]]] = [
                {
                    kind: (
                        run(server.port, connections, seconds, sent[kind]),
                        run(bare.port, connections, seconds, sent[kind]),
                    )
                    for kind, server in servers.items()
                }
                for _ in range(cycles)
            ]
            ratios = {kind: [turn[kind][0].throughput / turn[kind][1].throughput for turn in turns] for kind in sent}
            lines += [
                [
                    str(connections),
                    kind,
                    f"{statistics.median(turn[kind][0].throughput for turn in turns):,.0f}",
                    f"{statistics.median(turn[kind][1].throughput for turn in turns):,.0f}",
                    spread(ratios[kind]),
                    spread([one / iris for one, iris in zip(ratios[kind], ratios["Iris"], strict=True)]),
                ]
                for kind in sent
            ]
    remark = (
        f"`POST /predict` of a model of {NUMBERS} numbers and {CATEGORIES} categories, some with gaps, and of Iris, "
        "each against the bare ASGI reply to the same bodies. 100 trees each."
    )
    head = ["connections", "table", "requests/s", "bare", "to bare", "of Iris'"]
    return table("A table of 30 features", remark, head, lines)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder))
        on_core(LOAD_CORE)
        report(Path(folder), seconds=1, cycles=21)
