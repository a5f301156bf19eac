"""A model of 30 features, numbers and categories, some with missing values: its cost compared with Iris.

python -m benchmarks.mixed    this measurement alone, in two minutes
"""

import json
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import bodies
from benchmarks.load import Load, request, run
from benchmarks.measure import spread, table
from benchmarks.servers import LOAD_CORE, PROBE, on_core, serving, train

ROWS, NUMBERS, CATEGORIES = 1000, 18, 12

MISSING_EVERY, MISSING_SHARE = 6, 0.1
"""Every sixth column lacks a tenth of its values."""

MIXED_CONNECTIONS = (16, 64)

IRIS, MIXED = "Iris", "30 features"


def random_table(count: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """A table with three classes that are about as hard to separate as those of Iris. Every third feature depends on
    the class."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, count)
    columns: dict[str, pd.Series] = {}
    for number in range(NUMBERS):
        mean = 10 * number + 3 * kind * (number % 3 == 0)
        columns[f"number_{number}"] = pd.Series(rng.normal(mean, 3).round(2))
    for number in range(CATEGORIES):
        levels = 2 + 2 * number
        level = rng.integers(0, levels, count)
        depends_on_kind = (number % 3 == 0) & (rng.random(count) < 0.5)
        column = np.where(depends_on_kind, kind % levels, level)
        columns[f"category_{number}"] = pd.Series([f"level {value}" for value in column], dtype="str")
    for name in list(columns)[::MISSING_EVERY]:
        columns[name] = columns[name].mask(rng.random(count) < MISSING_SHARE)
    return pd.DataFrame(columns).assign(kind=np.array(["low", "middle", "high"])[kind])


def singles(frame: pd.DataFrame) -> list[bytes]:
    """A request to `/predict` for each row. Missing values are left out."""
    records = frame.drop(columns="kind").to_dict("records")
    present = [{name: value for name, value in record.items() if not pd.isna(value)} for record in records]
    return [request("/predict", json.dumps(record).encode()) for record in present]


def report(workspace: Path, seconds: float, cycles: int) -> str:
    """`POST /predict` of both models, each in ratio to the bare reply to the same bodies."""
    own = workspace / "mixed"  # a workspace of its own: the other measurements expect only the Iris model
    own.mkdir()
    random_table().to_csv(own / "mixed.csv", index=False)
    train(own, "--data", str(own / "mixed.csv"), "--target", "kind")
    requests = {IRIS: bodies.singles(bodies.rows(5000)), MIXED: singles(random_table(5000, seed=1))}
    lines = []
    with ExitStack() as stack:
        bare = stack.enter_context(serving("bare", workspace))
        bare.wait_until_ready(PROBE)
        servers = {
            IRIS: stack.enter_context(serving("ours", workspace)),
            MIXED: stack.enter_context(serving("ours", own, TABSERVE_MODEL_NAME="mixed")),
        }
        for model, server in servers.items():
            server.wait_until_ready(PROBE if model == IRIS else requests[MIXED][0])
            run(server.port, 16, seconds, requests[model])
        for connections in MIXED_CONNECTIONS:
            turns: list[dict[str, tuple[Load, Load]]] = [
                {
                    model: (
                        run(server.port, connections, seconds, requests[model]),
                        run(bare.port, connections, seconds, requests[model]),
                    )
                    for model, server in servers.items()
                }
                for _ in range(cycles)
            ]
            lines += [_line(connections, model, turns) for model in servers]
    remark = (
        f"`POST /predict` of a model of {NUMBERS} numbers and {CATEGORIES} categories, some with missing values, and "
        "of Iris, each compared with the bare ASGI reply to the same bodies. 100 trees each."
    )
    head = ["connections", "table", "requests/s", "requests/s, bare", "ratio to bare", "ratio to Iris"]
    return table("A table of 30 features", remark, head, lines)


def _line(connections: int, model: str, turns: list[dict[str, tuple[Load, Load]]]) -> list[str]:
    """A line of the table. A turn has, for each model, its load and the bare server's."""
    to_bare, to_bare_of_iris = (
        [ours.throughput / bare.throughput for ours, bare in (turn[name] for turn in turns)] for name in (model, IRIS)
    )
    return [
        str(connections),
        model,
        f"{statistics.median(turn[model][0].throughput for turn in turns):,.0f}",
        f"{statistics.median(turn[model][1].throughput for turn in turns):,.0f}",
        spread(to_bare),
        spread([ratio / iris for ratio, iris in zip(to_bare, to_bare_of_iris, strict=True)]),
    ]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder))
        on_core(LOAD_CORE)
        report(Path(folder), seconds=1, cycles=21)
