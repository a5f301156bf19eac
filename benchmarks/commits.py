"""Measures another commit of this project side by side with this one, and writes benchmarks/BASELINE.md.

    python -m benchmarks.commits 9b0bd8d    ten minutes; Linux, two cores

Both commits are cloned, train the same model and serve it. The two servers take turns over several cycles on one core,
and the load has the other. What counts is the ratio within a cycle.
"""

import argparse
import itertools
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks import bodies
from benchmarks.bodies import rows, singles
from benchmarks.load import HOST, Load, run
from benchmarks.measure import CONNECTIONS, spread, table
from benchmarks.servers import LOAD_CORE, PROBE, ROOT, Server, on_core, require_two_cores
from tabserve.cli import addresses

BEFORE, AFTER = "before", "after"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure another commit beside this one.")
    parser.add_argument("commit", help="the other commit")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--cycles", type=int, default=9, help="turns of each server (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "BASELINE.md")
    options = parser.parse_args()
    require_two_cores()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        checkouts = {
            BEFORE: checkout(options.commit, Path(folder) / BEFORE),
            AFTER: checkout("HEAD", Path(folder) / AFTER),
        }
        on_core(LOAD_CORE)
        parts = [under_load(checkouts, options.seconds, options.cycles), starts(checkouts, options.cycles)]
    minutes = (time.perf_counter() - started) / 60
    names = [revision(options.commit), revision("HEAD")]
    remark = (
        f"Commit {names[1]} against {names[0]}, measured {time.strftime('%Y-%m-%d')} by "
        f"`python -m benchmarks.commits {names[0]}` in {minutes:.1f} minutes on {os.cpu_count()} cores "
        f"({platform.machine()}), Python {platform.python_version()}. Medians of {options.cycles} cycles of "
        f"{options.seconds:g} seconds; in brackets the smallest and the largest."
    )
    options.output.write_text("\n\n".join(["# Base line", remark, *parts]) + "\n", encoding="utf-8")
    print(f"\n{options.output} is written")


def revision(name: str) -> str:
    command = ["git", "rev-parse", "--short", name]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def checkout(commit: str, folder: Path) -> Path:
    """A clone at a commit, with a trained model in it."""
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    for command in (
        ["git", "clone", "--quiet", str(ROOT), str(folder)],
        ["git", "-C", str(folder), "checkout", "--quiet", revision(commit)],
        [sys.executable, str(folder / "train_model.py")],
    ):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return folder


def server_of(name: str, folder: Path) -> Server:
    port = addresses.free_port(HOST)
    return Server(name, [sys.executable, "api.py", "--port", str(port)], port, {}, folder)


def under_load(checkouts: dict[str, Path], seconds: float, cycles: int) -> str:
    """Throughput, median latency and processor time of single predictions and of batches, after in ratio to before."""
    sent = singles(rows(5000))
    measurements: dict[str, Callable[[int], Load]] = {
        f"/predict, {count} connection{'s' * (count > 1)}": partial(
            run, connections=count, seconds=seconds, requests=sent
        )
        for count in CONNECTIONS
    }
    for count, connections in ((1000, 4), (100_000, 1)):
        for form, body in bodies.batches(rows(count)).items():
            name = f"/predict/batch, {count:,} rows, {form}"
            measurements[name] = partial(run, connections=connections, seconds=seconds, requests=[body])
    ratios: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in measurements}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(server_of(name, folder).running()) for name, folder in checkouts.items()}
        for server in servers.values():
            server.wait_until_ready(PROBE)
            for measure in measurements.values():
                measure(server.port)  # a first round for the caches, which doesn't count
        for cycle, (name, measure) in itertools.product(range(cycles), measurements.items()):
            order = (BEFORE, AFTER) if cycle % 2 else (AFTER, BEFORE)
            loads = {side: timed(servers[side], measure) for side in order}
            (before, cpu_before), (after, cpu_after) = loads[BEFORE], loads[AFTER]
            ratios[name].append(
                (after.throughput / before.throughput, after.p50 / before.p50, cpu_after / cpu_before, after.throughput)
            )
    lines = []
    for name, turns in ratios.items():
        *compared, absolute = zip(*turns, strict=True)
        lines.append([name, *map(spread, compared), f"{sorted(absolute)[len(absolute) // 2]:,.0f}"])
    head = [
        "request", "throughput, after to before", "p50, after to before", "processor time a request, after to before",
        "requests/s, after",
    ]  # fmt: skip
    return table("Under load", "The two servers take turns on one core.", head, lines)


def timed(server: Server, measure: Callable[[int], Load]) -> tuple[Load, float]:
    """A load, and the processor time of the server's core over its throughput."""
    busy = server.cpu_seconds()
    load = measure(server.port)
    return load, (server.cpu_seconds() - busy) / load.throughput


def starts(checkouts: dict[str, Path], cycles: int) -> str:
    """Time from the start of the process to the first prediction, and memory after it."""
    took: dict[str, list[float]] = {name: [] for name in checkouts}
    memory: dict[str, list[float]] = {name: [] for name in checkouts}
    for cycle in range(cycles + 1):
        for name, folder in checkouts.items():
            with server_of(name, folder).running() as server:
                seconds, _ = server.wait_until_ready(PROBE)
                if cycle:  # the first start compiles the modules
                    took[name].append(seconds)
                    memory[name].append(server.memory())
    lines = [
        [what, form(values[BEFORE]), form(values[AFTER]), spread(ratio(values))]
        for what, values, form in (
            ("seconds to the first prediction", took, spread),
            ("memory then, MB", memory, lambda found: spread(found, ".0f")),
        )
    ]
    return table("Start", "A folder as MLflow's store.", ["", "before", "after", "after to before"], lines)


def ratio(values: dict[str, list[float]]) -> list[float]:
    return [after / before for before, after in zip(values[BEFORE], values[AFTER], strict=True)]


if __name__ == "__main__":
    main()
