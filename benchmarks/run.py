"""Measures this project side by side with what it is compared to, and writes benchmarks/RESULTS.md and RESULTS.png.

    python -m benchmarks.run --quick    a minute and a half; Linux, two cores
    python -m benchmarks.run            twenty minutes, with the peers, whose environments take 4 GB

The server has one core and the load the other, the servers take turns over several cycles, and what counts is the
ratio: figures move with the machine and the hour, ratios of one run hardly do. The model is 100 trees on Iris, and rows
are drawn at random, so that hardly any comes twice.
"""

import argparse
import itertools
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import requests
from matplotlib.figure import Figure

from benchmarks import bodies, engines, mixed
from benchmarks.bodies import rows, singles
from benchmarks.load import HOST, Connection, Load, run
from benchmarks.measure import spread, table
from benchmarks.servers import LOAD_CORE, PROBE, ROOT, SERVER_CORE, on_core, serving, store
from tabserve.model.versions import Deployment
from tabserve.registry import journal

CONNECTIONS = (1, 16, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure, and write benchmarks/RESULTS.md.")
    parser.add_argument("--quick", action="store_true", help="leave out the peers, and measure for a shorter time")
    parser.add_argument("--seconds", type=float, help="of each single measurement (default: 1, quick: 0.4)")
    parser.add_argument("--cycles", type=int, help="turns of each server (default: 5, quick: 3)")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "RESULTS.md")
    options = parser.parse_args()
    if (os.cpu_count() or 1) < 2 or sys.platform != "linux":
        sys.exit("benchmarks: this needs Linux and two cores, one for the server and one for the load")
    seconds = options.seconds or (0.4 if options.quick else 1.0)
    cycles = options.cycles or (3 if options.quick else 5)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        for _ in range(2):  # two versions, to swap between
            mixed.train(workspace)
        on_core(LOAD_CORE)
        one_row, throughput = single(workspace, seconds, cycles)
        parts = [
            one_row,
            mixed.report(workspace, seconds, cycles),
            batches(workspace, seconds),
            beside_batches(workspace, seconds, cycles),
            beside_challenger(workspace, seconds, cycles),
            start(workspace, cycles),
            swaps(workspace, seconds, cycles),
            engines.report(seconds),
        ]
        if not options.quick:
            from benchmarks.peers import contest

            contest.prepare(workspace)
            peers, best = contest.servers(workspace, seconds, cycles)
            throughput |= best
            parts += [peers, contest.engines(workspace, seconds)]
    draw(throughput, options.output.with_suffix(".png"))
    minutes = (time.perf_counter() - started) / 60
    command = "python -m benchmarks.run" + " --quick" * options.quick
    libraries = ", ".join(f"{name} {version(name)}" for name in ("fastapi", "uvicorn", "llvmlite", "scikit-learn"))
    remark = (
        f"Measured {time.strftime('%Y-%m-%d')} by `{command}` in {minutes:.1f} minutes on "
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, {libraries}. Medians; in "
        "brackets the least and the most of the cycles."
    )
    text = "\n\n".join(["# Results", remark, *parts])
    options.output.write_text(text + "\n", encoding="utf-8")
    print(f"\n{options.output} is written")


def single(workspace: Path, seconds: float, cycles: int) -> tuple[str, dict[str, list[float]]]:
    """`POST /predict` with everything on, against the bare reply and against FastAPI in the ordinary way; and the
    throughputs, by number of connections, for the picture."""
    sent = singles(rows(5000))
    names = ("bare", "ours", "plain")
    lines = []
    throughput: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(serving(name, workspace)) for name in names}
        for server in servers.values():
            server.wait_until_ready(PROBE)
            run(server.port, 16, seconds / 2, sent)
        for connections in CONNECTIONS:
            measured: dict[str, list[tuple[Load, float]]] = {name: [] for name in names}
            for _ in range(cycles):
                for name, server in servers.items():
                    before = server.cpu_seconds()
                    load = run(server.port, connections, seconds, sent)
                    cpu = (server.cpu_seconds() - before) / (load.throughput * seconds)
                    measured[name].append((load, cpu))
            for name in names:
                turns = list(zip(measured[name], measured["bare"], strict=True))
                throughput[name].append(statistics.median(load.throughput for load, _ in measured[name]))
                lines.append(
                    [
                        str(connections),
                        {"bare": "bare ASGI reply", "ours": "**this project**", "plain": "FastAPI, ordinary"}[name],
                        f"{statistics.median(load.throughput for load, _ in measured[name]):,.0f}",
                        spread([mine[0].throughput / bare[0].throughput for mine, bare in turns]),
                        f"{statistics.median(load.p50 for load, _ in measured[name]) * 1e6:,.0f}",
                        spread([mine[0].p50 / bare[0].p50 for mine, bare in turns]),
                        spread([mine[0].p99 / bare[0].p99 for mine, bare in turns]),
                        f"{statistics.median(cpu for _, cpu in measured[name]) * 1e6:.0f}",
                    ]
                )
    head = ["connections", "server", "requests/s", "to bare", "p50, µs", "to bare", "p99 to bare", "CPU, µs a request"]
    remark = "`POST /predict`, everything on: validation, history, metrics, ids."
    return table("One row a request", remark, head, lines), throughput


LOOKS = {
    "bare": ("bare ASGI reply, no work at all", "#c9ced6"),
    "ours": ("this project", "#1f6feb"),
    "plain": ("FastAPI, the ordinary way, with this engine", "#e8a33d"),
    "compiled": ("the best peer, with this engine", "#c2703d"),
    "scikit-learn": ("the best peer, as documented", "#8c4a2f"),
}
"""What a bar of the picture stands for, and its colour."""


def draw(throughput: dict[str, list[float]], picture: Path) -> None:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    shown = [name for name in LOOKS if name in throughput]
    width = 0.85 / len(shown)
    for number, name in enumerate(shown):
        label, color = LOOKS[name]
        places = [place + (number - (len(shown) - 1) / 2) * width for place in range(len(CONNECTIONS))]
        bars = axes.bar(places, throughput[name], width * 0.92, label=label, color=color)
        axes.bar_label(bars, [f"{value:,.0f}" for value in throughput[name]], fontsize=7, padding=2)
    axes.set_xticks(range(len(CONNECTIONS)), [f"{count} connection{'s' * (count > 1)}" for count in CONNECTIONS])
    axes.set_ylabel("requests/s, one core")
    axes.set_title("POST /predict, 100 trees on Iris", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    figure.savefig(picture, dpi=110)


def batches(workspace: Path, seconds: float) -> str:
    """`/predict/batch` against the model alone, on the same core and the same rows."""
    lines = []
    with serving("ours", workspace) as server:
        server.wait_until_ready(PROBE)
        for count, connections in ((1000, 4), (100_000, 1)):  # a larger one keeps the server at work by itself
            drawn = rows(count)
            on_core(SERVER_CORE)  # where the server runs, which has nothing to do meanwhile
            alone = engines.rows_a_second(engines.live(workspace).outputs, drawn, seconds)
            on_core(LOAD_CORE)
            for form, body in bodies.batches(drawn).items():
                run(server.port, connections, seconds, [body])
                answered = run(server.port, connections, 3 * seconds, [body]).throughput * count
                line = [f"{count:,}", str(connections), form, f"{answered:,.0f}", f"{alone:,.0f}"]
                lines.append([*line, f"{answered / alone:.2f}"])
    head = ["rows", "connections", "body", "rows/s over HTTP", "rows/s of the model alone", "ratio"]
    return table("Many rows a request", "The model alone does the same rows on the same core.", head, lines)


def beside_batches(workspace: Path, seconds: float, cycles: int) -> str:
    """Single predictions while batches of 100,000 rows are computed, against without."""
    sent = singles(rows(5000))
    batch = bodies.batches(rows(100_000))["JSON, columns"]
    turns: list[tuple[Load, Load]] = []
    with serving("ours", workspace) as server:
        server.wait_until_ready(PROBE)
        for _ in range(cycles):
            alone = run(server.port, 16, 2 * seconds, sent)
            answered = multiprocessing.Value("i", 0)
            other = multiprocessing.get_context("fork").Process(target=post_on, args=(server.port, batch, answered))
            other.start()
            try:
                while not answered.value:
                    time.sleep(0.01)
                turns.append((alone, run(server.port, 16, 2 * seconds, sent)))
            finally:
                other.kill()
                other.join()
    line = [
        spread([beside.throughput / alone.throughput for alone, beside in turns]),
        spread([beside.p99 / alone.p99 for alone, beside in turns]),
        f"{statistics.median(alone.p99 for alone, _ in turns) * 1e6:,.0f}",
    ]
    remark = "Single predictions on 16 connections while another one sends 100,000 rows on and on, against without."
    return table("Beside a large batch", remark, ["throughput, ratio", "p99, ratio", "p99 without, µs"], [line])


def post_on(port: int, sent: bytes, answered: Any) -> None:
    connection = Connection(port)
    while True:
        connection.exchange(sent)
        answered.value += 1


def beside_challenger(workspace: Path, seconds: float, cycles: int) -> str:
    """Single predictions with a challenger in their shadow, and with one that answers half of the callers besides,
    against without."""
    sent = singles(rows(5000))
    keyed = [one.replace(b"Accept:", b"X-Caller-Key: %d\r\nAccept:" % number) for number, one in enumerate(sent)]
    command = [sys.executable, str(ROOT / "promote_model.py"), "--challenger", "1"]
    subprocess.run(command, env=os.environ | store(workspace), check=True, capture_output=True)
    kinds = {
        "no challenger": {"TABSERVE_CHALLENGER_ALIAS": "nobody"},
        "scored in the shadow": {},
        "and answers half of the callers": {"TABSERVE_CHALLENGER_SHARE": "0.5"},
    }
    with ExitStack() as stack:
        servers = {
            kind: stack.enter_context(serving("ours", workspace, **settings)) for kind, settings in kinds.items()
        }
        for server in servers.values():
            server.wait_until_ready(PROBE)
            run(server.port, 16, seconds, keyed)
        lines = []
        for connections in CONNECTIONS:
            turns = [
                {kind: run(server.port, connections, 2 * seconds, keyed) for kind, server in servers.items()}
                for _ in range(cycles)
            ]
            for kind in list(kinds)[1:]:
                ratios = [(turn[kind], turn["no challenger"]) for turn in turns]
                lines.append(
                    [
                        str(connections),
                        kind,
                        spread([mine.throughput / without.throughput for mine, without in ratios]),
                        spread([mine.p99 / without.p99 for mine, without in ratios]),
                    ]
                )
    head = ["connections", "challenger", "throughput, ratio", "p99, ratio"]
    return table("Beside a challenger", "Single predictions with a challenger, against without one.", head, lines)


def start(workspace: Path, cycles: int) -> str:
    """From the start of `python api.py` to its first prediction, with a model in place."""
    took, memory = [], []
    for _ in range(cycles + 1):  # the first compiles what Python compiles once
        with serving("ours", workspace) as server:
            took.append(server.wait_until_ready(PROBE)[0])
            memory.append(server.memory())
    line = [spread(took[1:]), spread(memory[1:], ".0f")]
    return table("Start", "A folder as MLflow's store.", ["seconds to the first prediction", "memory then, MB"], [line])


def swaps(workspace: Path, seconds: float, cycles: int) -> str:
    """Throughput and p99 while the champion changes every 0.2 s, against the same server while it stays."""
    sent = singles(rows(5000))
    model = workspace / "mlruns" / "models" / "iris-classifier"

    count = itertools.count(1000)

    def swap(done: threading.Event) -> None:
        while not done.wait(0.2):
            turn = next(count)
            number = str(1 + turn % 2)
            # the journal's one entry is the last move, so that the server doesn't read it again at each poll
            move = Deployment(turn, "", "", "champion", None, number, "")
            for file, text in (
                (model / "tags" / f"{journal.PREFIX}swap", journal.entry(move)[1]),
                (model / "aliases" / "champion", number),
            ):
                aside = workspace / "aside"
                aside.write_text(text)
                aside.replace(file)

    def loaded(port: int) -> float:
        counters = requests.get(f"http://{HOST}:{port}/metrics/prometheus", timeout=60).text
        return float(counters.partition('model_reloads_total{result="loaded"} ')[2].split()[0])

    turns: list[tuple[Load, Load]] = []
    done_a_second = []
    with serving("ours", workspace, TABSERVE_FOLLOW_SECONDS="0.1") as server:
        server.wait_until_ready(PROBE)
        for _ in range(cycles):
            staying = run(server.port, 32, 4 * seconds, sent)
            done, before, began = threading.Event(), loaded(server.port), time.perf_counter()
            swapper = threading.Thread(target=swap, args=(done,))
            swapper.start()
            try:
                turns.append((staying, run(server.port, 32, 4 * seconds, sent)))
            finally:
                done.set()
                swapper.join()
            done_a_second.append((loaded(server.port) - before) / (time.perf_counter() - began))
    line = [
        spread([swapping.throughput / staying.throughput for staying, swapping in turns]),
        spread([swapping.p99 / staying.p99 for staying, swapping in turns]),
        f"{statistics.median(staying.p99 for staying, _ in turns) * 1e6:,.0f}",
        spread(done_a_second, ".1f"),
    ]
    remark = "32 connections; a new champion every 0.2 s, against none."
    head = ["throughput, ratio", "p99, ratio", "p99 without, µs", "swaps a second"]
    return table("Swapping models", remark, head, [line])


if __name__ == "__main__":
    main()
