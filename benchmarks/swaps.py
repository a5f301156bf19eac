"""Throughput and latency while the server swaps models, compared with the same server while the champion stays."""

import itertools
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from benchmarks.bodies import rows, singles
from benchmarks.load import HOST, Load, run
from benchmarks.measure import spread, table
from benchmarks.servers import PROBE, serving
from tabserve.model import Deployment
from tabserve.registry import journal

SWAP_CONNECTIONS, SECONDS_BETWEEN_SWAPS = 32, 0.2


def report(workspace: Path, seconds: float, cycles: int) -> str:
    single_rows = singles(rows(5000))
    swapper = Swapper(workspace)
    turns: list[tuple[Load, Load]] = []
    swaps_per_second = []
    with serving("ours", workspace, TABSERVE_FOLLOW_SECONDS="0.1") as server:
        server.wait_until_ready(PROBE)
        for _ in range(cycles):
            staying = run(server.port, SWAP_CONNECTIONS, 4 * seconds, single_rows)
            before, began = loaded_models(server.port), time.perf_counter()
            with swapper.swapping():
                turns.append((staying, run(server.port, SWAP_CONNECTIONS, 4 * seconds, single_rows)))
            swaps_per_second.append((loaded_models(server.port) - before) / (time.perf_counter() - began))
    line = [
        spread([swapping.throughput / staying.throughput for staying, swapping in turns]),
        spread([swapping.p99 / staying.p99 for staying, swapping in turns]),
        f"{statistics.median(staying.p99 for staying, _ in turns) * 1e6:,.0f}",
        spread(swaps_per_second, ".1f"),
    ]
    remark = (
        f"{SWAP_CONNECTIONS} connections; a new champion every {SECONDS_BETWEEN_SWAPS:g} s, compared with a champion "
        "that stays."
    )
    head = ["throughput, ratio", "p99, ratio", "p99 without swaps, µs", "swaps/s"]
    return table("Swapping models", remark, head, [line])


class Swapper:
    """Makes versions 1 and 2 the champion in turn, by writing the files of MLflow's store."""

    def __init__(self, workspace: Path) -> None:
        self._model = workspace / "mlruns" / "models" / "iris-classifier"
        self._aside = workspace / "aside"
        self._numbers = itertools.count(1000)

    @contextmanager
    def swapping(self) -> Iterator[None]:
        """Swaps, in a thread, until the block ends."""
        done = threading.Event()
        thread = threading.Thread(target=self._swap_until, args=(done,))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _swap_until(self, done: threading.Event) -> None:
        while not done.wait(SECONDS_BETWEEN_SWAPS):
            number = next(self._numbers)
            version = str(1 + number % 2)
            # the journal's only entry is the newest deployment, so that the server doesn't read it again at each poll
            deployment = Deployment(number, "", "", "champion", None, version, "")
            self._replace(self._model / "tags" / f"{journal.PREFIX}swap", journal.entry(deployment)[1])
            self._replace(self._model / "aliases" / "champion", version)

    def _replace(self, file: Path, text: str) -> None:
        self._aside.write_text(text)
        self._aside.replace(file)


def loaded_models(port: int) -> float:
    """How many models the server has loaded since its start."""
    counters = requests.get(f"http://{HOST}:{port}/metrics/prometheus", timeout=60).text
    return float(counters.partition('model_reloads_total{result="loaded"} ')[2].split()[0])
