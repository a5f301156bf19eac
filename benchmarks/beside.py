"""Single rows while the server also does other work: large batches, and a challenger."""

import multiprocessing
import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import bodies
from benchmarks.bodies import rows, singles
from benchmarks.load import Connection, Load, run
from benchmarks.measure import CONNECTIONS, spread, table
from benchmarks.servers import PROBE, run_script, serving

WITHOUT = "no challenger"

CHALLENGER_SETTINGS = {
    WITHOUT: {"TABSERVE_CHALLENGER_ALIAS": "nobody"},
    "in the shadow": {},
    "in the shadow, and answers half of the callers": {"TABSERVE_CHALLENGER_SHARE": "0.5"},
}
"""What the challenger does → the settings of the server."""


def report_batch(workspace: Path, seconds: float, cycles: int) -> str:
    """Single rows while another connection sends one batch of 100,000 rows after the other, compared with the same
    server without batches."""
    requests = singles(rows(5000))
    batch = bodies.batches(rows(100_000))["JSON, columns"]
    turns: list[tuple[Load, Load]] = []
    with serving("ours", workspace) as server:
        server.wait_until_ready(PROBE)
        for _ in range(cycles):
            without = run(server.port, 16, 2 * seconds, requests)
            answered = multiprocessing.Value("i", 0)
            sender = multiprocessing.get_context("fork").Process(
                target=_send_forever, args=(server.port, batch, answered)
            )
            sender.start()
            try:
                while not answered.value:
                    time.sleep(0.01)
                turns.append((without, run(server.port, 16, 2 * seconds, requests)))
            finally:
                sender.kill()
                sender.join()
    line = [
        spread([beside.throughput / without.throughput for without, beside in turns]),
        spread([beside.p99 / without.p99 for without, beside in turns]),
        f"{statistics.median(without.p99 for without, _ in turns) * 1e6:,.0f}",
    ]
    remark = (
        "Single rows on 16 connections while another connection sends one batch of 100,000 rows after the other, "
        "compared with no batches."
    )
    head = ["throughput, ratio", "p99, ratio", "p99 without batches, µs"]
    return table("Beside a large batch", remark, head, [line])


def _send_forever(port: int, request: bytes, answered: Any) -> None:
    connection = Connection(port)
    while True:
        connection.exchange(request)
        answered.value += 1


def report_challenger(workspace: Path, seconds: float, cycles: int) -> str:
    """Single rows with a challenger that scores them in the shadow, and with one that also answers half of the callers,
    compared with no challenger."""
    requests = [
        request.replace(b"Accept:", b"X-Caller-Key: %d\r\nAccept:" % number)
        for number, request in enumerate(singles(rows(5000)))
    ]
    run_script(workspace, "promote_model.py", "--challenger", "1")
    with ExitStack() as stack:
        servers = {
            role: stack.enter_context(serving("ours", workspace, **settings))
            for role, settings in CHALLENGER_SETTINGS.items()
        }
        for server in servers.values():
            server.wait_until_ready(PROBE)
            run(server.port, 16, seconds, requests)
        lines = []
        for connections in CONNECTIONS:
            turns = [
                {role: run(server.port, connections, 2 * seconds, requests) for role, server in servers.items()}
                for _ in range(cycles)
            ]
            lines += [
                [
                    str(connections),
                    role,
                    spread([turn[role].throughput / turn[WITHOUT].throughput for turn in turns]),
                    spread([turn[role].p99 / turn[WITHOUT].p99 for turn in turns]),
                ]
                for role in servers
                if role != WITHOUT
            ]
    head = ["connections", "challenger", "throughput, ratio", "p99, ratio"]
    return table("Beside a challenger", "Single rows with a challenger, compared with no challenger.", head, lines)
