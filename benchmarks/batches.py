"""Many rows per request: `/predict/batch` compared with the model alone, on the same core and the same rows."""

from pathlib import Path

from benchmarks import bodies, engine
from benchmarks.load import run
from benchmarks.measure import table
from benchmarks.servers import LOAD_CORE, PROBE, SERVER_CORE, on_core, serving

SIZES = ((1000, 4), (100_000, 1))
"""Rows and connections. One connection with large batches is enough to keep the server busy."""


def report(workspace: Path, seconds: float) -> str:
    lines = []
    with serving("ours", workspace) as server:
        server.wait_until_ready(PROBE)
        for count, connections in SIZES:
            matrix = bodies.rows(count)
            on_core(SERVER_CORE)  # the server is idle meanwhile
            alone = engine.rows_per_second(engine.champion_of(workspace).outputs, matrix, seconds)
            on_core(LOAD_CORE)
            for body_format, request in bodies.batches(matrix).items():
                run(server.port, connections, seconds, [request])
                over_http = run(server.port, connections, 3 * seconds, [request]).throughput * count
                lines.append(
                    [
                        f"{count:,}",
                        str(connections),
                        body_format,
                        f"{over_http:,.0f}",
                        f"{alone:,.0f}",
                        f"{over_http / alone:.2f}",
                    ]
                )
    head = ["rows", "connections", "body", "rows/s over HTTP", "rows/s of the model alone", "ratio"]
    remark = "The model alone predicts the same rows on the same core."
    return table("Many rows per request", remark, head, lines)
