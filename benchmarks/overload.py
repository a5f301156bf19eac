"""Measures the service with more work, and worse callers, than it can serve, and writes benchmarks/OVERLOAD.md.

python -m benchmarks.overload    four minutes; Linux, two cores
"""

import argparse
import itertools
import multiprocessing
import os
import platform
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import bodies
from benchmarks.bodies import rows, singles
from benchmarks.load import HOST, Connection, run
from benchmarks.measure import spread, table
from benchmarks.servers import LOAD_CORE, PROBE, ROOT, Server, on_core, require_two_cores, serving, train

SLOW_CLIENTS, GOOD_CONNECTIONS = 500, 16
SATURATING, TOO_MANY = 64, 640
ABANDONED, AT_ONCE = 20, 40
PROBES = ("/livez", "/readyz", "/metrics")

BATCH_HEAD = (
    b"POST /predict/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n"
)
SLOW_REQUESTS = (
    b"POST /predict/very/long/path" + b"x" * 1000,
    b"POST /predict HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 1000,
    BATCH_HEAD + b" " * 1000,
    b"",
)
"""What slow clients send, a byte a second: in the line, in the head, in the body, and nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the service under too much work.")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--cycles", type=int, default=5, help="turns of each measurement (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "OVERLOAD.md")
    options = parser.parse_args()
    require_two_cores()
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder))
        on_core(LOAD_CORE)
        with serving("ours", Path(folder)) as server:
            server.wait_until_ready(PROBE)
            parts = [
                slow_clients(server, options.seconds, options.cycles),
                many_connections(server, options.seconds, options.cycles),
                large_batches(server),
            ]
    remark = (
        f"Measured {time.strftime('%Y-%m-%d')} by `python -m benchmarks.overload` on {os.cpu_count()} cores "
        f"({platform.machine()}), Python {platform.python_version()}. Medians; in brackets the extremes."
    )
    options.output.write_text("\n\n".join(["# Under too much work", remark, *parts]) + "\n", encoding="utf-8")
    print(f"\n{options.output} is written")


def slow_clients(server: Server, seconds: float, cycles: int) -> str:
    """Good callers, with and without slow ones."""
    requests, ratios, probes = singles(rows(5000)), [], []
    for _ in range(cycles):
        with probed(server.port):
            alone = run(server.port, GOOD_CONNECTIONS, seconds, requests)
        with sending_slowly(server.port), probed(server.port) as taken:
            ratios.append(run(server.port, GOOD_CONNECTIONS, seconds, requests).throughput / alone.throughput)
        probes += taken
    head = ["throughput, ratio", "probe, ms", "slowest probe, ms"]
    remark = (
        f"Single rows on {GOOD_CONNECTIONS} connections beside {SLOW_CLIENTS} clients that send a byte a second, in "
        "the line, in the head, in the body, or nothing; compared with none. The probes "
        f"{', '.join(PROBES)} are asked for all the time."
    )
    return table(
        "Slow clients",
        remark,
        head,
        [[spread(ratios), milliseconds(statistics.median(probes)), milliseconds(max(probes))]],
    )


def many_connections(server: Server, seconds: float, cycles: int) -> str:
    """Ten times as many connections as saturate the server."""
    requests, ratios, probes = singles(rows(5000)), [], []
    for _ in range(cycles):
        with probed(server.port):
            best = run(server.port, SATURATING, seconds, requests)
        with probed(server.port) as taken:
            ratios.append(run(server.port, TOO_MANY, seconds, requests).throughput / best.throughput)
        probes += taken
    head = ["throughput, ratio", "probe, ms", "slowest probe, ms"]
    remark = f"Single rows on {TOO_MANY} connections, each with a request all the time, compared with {SATURATING}."
    return table(
        "Too many connections",
        remark,
        head,
        [[spread(ratios), milliseconds(statistics.median(probes)), milliseconds(max(probes))]],
    )


def large_batches(server: Server) -> str:
    """Batches that are abandoned, and more at once than there are threads."""
    batch = bodies.batches(rows(100_000))["JSON, columns"]
    alone = seconds_for(server.port, batch)
    abandoned = [Connection(server.port) for _ in range(ABANDONED)]
    for connection in abandoned:
        connection.socket.sendall(batch)
        connection.socket.close()
    after = seconds_for(server.port, batch)
    before = server.memory()
    senders = [threading.Thread(target=seconds_for, args=(server.port, batch)) for _ in range(AT_ONCE)]
    for sender in senders:
        sender.start()
    highest = before
    with probed(server.port) as taken:
        while any(sender.is_alive() for sender in senders):
            highest = max(highest, server.memory())
            time.sleep(0.05)
    head = [
        "alone, s",
        f"after {ABANDONED} abandoned ones, s",
        f"memory with {AT_ONCE} at once, MB more",
        "slowest probe, ms",
    ]
    line = [f"{alone:.2f}", f"{after:.2f}", f"{highest - before:.0f}", milliseconds(max(taken))]
    return table("Large batches", "A batch of 100,000 rows as JSON columns.", head, [line])


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"


def seconds_for(port: int, request: bytes) -> float:
    """How long one request takes on a connection of its own."""
    connection = Connection(port)
    started = time.perf_counter()
    connection.exchange(request)
    connection.socket.close()
    return time.perf_counter() - started


@contextmanager
def sending_slowly(port: int) -> Iterator[None]:
    """Slow clients, in a process of their own, until the block ends."""
    clients = multiprocessing.get_context("fork").Process(target=send_slowly, args=(port,))
    clients.start()
    try:
        yield
    finally:
        clients.kill()
        clients.join()


def send_slowly(port: int) -> None:
    """Each client sends a byte a second. One that is disconnected comes back."""

    def connect(number: int) -> tuple[socket.socket, bytes]:
        client = socket.create_connection((HOST, port), timeout=60)
        client.setblocking(False)
        return client, SLOW_REQUESTS[number % len(SLOW_REQUESTS)]

    clients = [connect(number) for number in range(SLOW_CLIENTS)]
    for position in itertools.count():
        for number, (client, text) in enumerate(clients):
            try:
                client.send(text[position % 1000 : position % 1000 + 1])
            except OSError:
                client.close()
                clients[number] = connect(number)
        time.sleep(1)


@contextmanager
def probed(port: int) -> Iterator[list[float]]:
    """Seconds that each probe took on a connection of its own, known when the block has ended. Another process sends
    them."""
    context, taken = multiprocessing.get_context("fork"), list[float]()
    receiver, sender = context.Pipe(duplex=False)
    done = context.Event()
    prober = context.Process(target=probe, args=(port, sender, done))
    prober.start()
    try:
        yield taken
    finally:
        done.set()
        taken += receiver.recv()
        prober.join()


def probe(port: int, results: Any, done: Any) -> None:
    requests = [f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in PROBES]
    taken = []
    while not done.wait(0.05):
        taken += [seconds_for(port, request) for request in requests]
    results.send(taken)


if __name__ == "__main__":
    main()
