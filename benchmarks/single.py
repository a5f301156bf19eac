"""One row per request: this project, a bare ASGI reply, and an ordinary FastAPI application."""

import statistics
from contextlib import ExitStack
from pathlib import Path

from benchmarks.bodies import rows, singles
from benchmarks.load import Load, run
from benchmarks.measure import CONNECTIONS, spread, table
from benchmarks.servers import PROBE, serving

LABELS = {"bare": "bare ASGI reply", "ours": "**this project**", "plain": "FastAPI, ordinary"}
"""Name of a server → its name in the table."""


def report(workspace: Path, seconds: float, cycles: int) -> tuple[str, dict[str, list[float]]]:
    """The table, and for the picture the throughputs of each server, in the order of `CONNECTIONS`."""
    requests = singles(rows(5000))
    lines = []
    throughputs: dict[str, list[float]] = {name: [] for name in LABELS}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(serving(name, workspace)) for name in LABELS}
        for server in servers.values():
            server.wait_until_ready(PROBE)
            run(server.port, 16, seconds / 2, requests)
        for connections in CONNECTIONS:
            loads: dict[str, list[Load]] = {name: [] for name in LABELS}
            cpu: dict[str, list[float]] = {name: [] for name in LABELS}
            for _ in range(cycles):
                for name, server in servers.items():
                    before = server.cpu_seconds()
                    load = run(server.port, connections, seconds, requests)
                    cpu[name].append((server.cpu_seconds() - before) / (load.throughput * seconds))
                    loads[name].append(load)
            for name, label in LABELS.items():
                throughputs[name].append(statistics.median(load.throughput for load in loads[name]))
                lines.append([str(connections), label, *_cells(loads[name], loads["bare"], cpu[name])])
    head = [
        "connections", "server", "requests/s", "ratio to bare", "p50, µs", "ratio to bare", "p99, ratio to bare",
        "CPU per request, µs",
    ]  # fmt: skip
    remark = "`POST /predict` with everything that it does: validation, history, metrics, ids."
    return table("One row per request", remark, head, lines), throughputs


def _cells(loads: list[Load], bare_loads: list[Load], cpu: list[float]) -> list[str]:
    """One server's measurements. `cpu` is in seconds per request."""
    turns = list(zip(loads, bare_loads, strict=True))
    return [
        f"{statistics.median(load.throughput for load in loads):,.0f}",
        spread([load.throughput / bare.throughput for load, bare in turns]),
        f"{statistics.median(load.p50 for load in loads) * 1e6:,.0f}",
        spread([load.p50 / bare.p50 for load, bare in turns]),
        spread([load.p99 / bare.p99 for load, bare in turns]),
        f"{statistics.median(cpu) * 1e6:.0f}",
    ]
