"""Compares the peers' servers and engines with this project's: the same model, on the same core, in turns."""

import json
import os
import shutil
import statistics
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import joblib
import numpy as np
import skops.io

from benchmarks.bodies import rows, singles
from benchmarks.load import Load, content, run
from benchmarks.measure import CONNECTIONS, spread, table
from benchmarks.peers.start import ENGINES, ENGINES_LOCK, PEERS, Peer, environment
from benchmarks.servers import LOAD_CORE, PROBE, ROOT, SERVER_CORE, Server, on_core, serving
from tabserve.model import Predictor, release
from tabserve.training import dataset, parity, schema_inference
from tabserve.training.pipeline import TRUSTED_TYPES


@dataclass
class Contest:
    """The loads of one peer's server, and of this project's in turn with it, by number of connections.

    Attributes:
        engine: what the peer predicts with, one of `ENGINES`.
        batching: whether the peer gathers requests into batches.
        cpu: seconds of CPU per request of the peer, at 16 connections.
    """

    peer: Peer
    engine: str
    batching: bool
    theirs: dict[int, list[Load]] = field(default_factory=lambda: {count: [] for count in CONNECTIONS})
    ours: dict[int, list[Load]] = field(default_factory=lambda: {count: [] for count in CONNECTIONS})
    cpu: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.peer.name}, batching" if self.batching else self.peer.name

    def throughput(self, connections: int) -> float:
        """The peer's median."""
        return statistics.median(load.throughput for load in self.theirs[connections])

    def ratios(self, connections: int) -> list[float]:
        """This project's throughput divided by the peer's, turn by turn."""
        turns = zip(self.ours[connections], self.theirs[connections], strict=True)
        return [ours.throughput / theirs.throughput for ours, theirs in turns]

    def measure(self, our_server: Server, workspace: Path, seconds: float, cycles: int) -> None:
        """Starts the peer's server and measures both.

        Raises:
            RuntimeError: the peer gives other probabilities than the model.
        """
        matrix = rows(5000)
        our_requests, their_requests = singles(matrix), [self.peer.request(row) for row in matrix.tolist()]
        expected = Predictor(release.read(workspace / "release")).row_outputs(matrix[0].tolist())[0]
        with self.peer.serving(workspace, self.engine, batching=self.batching) as their_server:
            _, reply = their_server.wait_until_ready(their_requests[0])
            probabilities = self.peer.read(json.loads(content(reply)))
            if not np.allclose(probabilities, expected, rtol=0, atol=1e-12):
                raise RuntimeError(f"{self.name} answers {probabilities}, the model {expected}")
            run(their_server.port, 16, seconds, their_requests)
            for connections in CONNECTIONS:
                for _ in range(cycles):
                    before = their_server.cpu_seconds()
                    load = run(their_server.port, connections, seconds, their_requests)
                    if connections == 16:
                        self.cpu.append((their_server.cpu_seconds() - before) / (load.throughput * seconds))
                    self.theirs[connections].append(load)
                    self.ours[connections].append(run(our_server.port, connections, seconds, our_requests))


def prepare(workspace: Path) -> None:
    """Installs the environments, and writes what peers and engines read: the model that the workspace's trainings made,
    as a release and as scikit-learn's pipeline, and rows near its split points. All trainings made the same model."""
    for lock in (ENGINES_LOCK, *(peer.lock for peer in PEERS)):
        environment(lock)
    shutil.copytree(max((workspace / "artifacts").glob("*/release")), workspace / "release")
    pipeline = skops.io.load(next((workspace / "mlruns").rglob("model.skops")), trusted=TRUSTED_TYPES)
    joblib.dump(pipeline, workspace / "model.joblib")
    iris = dataset.load_iris()
    schema = schema_inference.infer_schema(iris, pipeline)
    np.save(workspace / "rows.npy", parity.probing_rows(pipeline, schema, iris, 100_000, seed=1))


def report_servers(workspace: Path, seconds: float, cycles: int) -> tuple[str, dict[str, list[float]]]:
    """The tables of all peers, each in all its modes; and for the picture the throughput of the fastest peer, by engine
    and in the order of `CONNECTIONS`."""
    contests = [
        Contest(peer, engine, batching)
        for engine in ENGINES
        for peer in PEERS
        for batching in ((False, True) if peer.batching else (False,))
    ]
    with serving("ours", workspace) as our_server:
        our_server.wait_until_ready(PROBE)
        for contest in contests:
            print(f"{contest.name}, {contest.engine} …", flush=True)
            contest.measure(our_server, workspace, seconds, cycles)
    fastest = {engine: [_fastest(contests, engine, count) for count in CONNECTIONS] for engine in ENGINES}
    all_peers = _peers_table(contests)
    summary = table(
        "The best peer",
        "This project's throughput divided by that of the fastest peer, by number of connections.",
        ["connections", "as documented", "", "with the same compiled engine", ""],
        [
            [str(count), *(cell for engine in ENGINES for cell in _compared(fastest[engine][i], count))]
            for i, count in enumerate(CONNECTIONS)
        ],
    )
    throughputs = {
        engine: [contest.throughput(count) for contest, count in zip(fastest[engine], CONNECTIONS, strict=True)]
        for engine in ENGINES
    }
    return f"{summary}\n\n{all_peers}", throughputs


def _peers_table(contests: list[Contest]) -> str:
    return table(
        "Peers",
        "One row per request, the same model, each peer in an environment of its own. As documented, a peer predicts "
        "with scikit-learn; compiled, with this project's engine. The ratio is this project's throughput divided by "
        "the peer's.",
        ["server", "engine", *(f"requests/s at {count}" for count in CONNECTIONS),
         *(f"ratio at {count}" for count in CONNECTIONS), "CPU per request, µs"],
        [
            [
                contest.name,
                contest.engine,
                *(f"{contest.throughput(count):,.0f}" for count in CONNECTIONS),
                *(spread(contest.ratios(count), ".1f") for count in CONNECTIONS),
                f"{statistics.median(contest.cpu) * 1e6:,.0f}",
            ]
            for contest in contests
        ],
    )  # fmt: skip


def _fastest(contests: list[Contest], engine: str, connections: int) -> Contest:
    candidates = [contest for contest in contests if contest.engine == engine]
    return max(candidates, key=lambda contest: contest.throughput(connections))


def _compared(contest: Contest, connections: int) -> tuple[str, str]:
    return spread(contest.ratios(connections), ".1f"), contest.name


def report_engines(workspace: Path, seconds: float) -> str:
    """The table of all engines that were tried. They run in an environment of their own, on the servers' core."""
    python = str(environment(ENGINES_LOCK) / "bin" / "python")
    on_core(SERVER_CORE)
    process = subprocess.run(
        [python, "-m", "benchmarks.peers.engines", str(seconds)],
        cwd=ROOT, env=os.environ | {"PEER_WORKSPACE": str(workspace)}, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    on_core(LOAD_CORE)
    engines = json.loads(process.stdout)
    counts = list(next(iter(engines.values()))["rows_per_second"])
    lines = [
        [
            f"**{name}**" if name == "this project" else name,
            f"{engine['row_microseconds']:,.1f}",
            *(f"{engine['rows_per_second'][count]:,.0f}" for count in counts),
            f"{engine['other_classes']}",
            f"{engine['largest_difference']:.0e}" if engine["largest_difference"] else "0",
        ]
        for name, engine in engines.items()
    ]
    head = [
        "engine",
        "one row, µs",
        *(f"rows/s, {int(count):,} per call" for count in counts),
        "other classes",
        "largest difference",
    ]
    remark = (
        "100 trees on Iris, one process on one core. Checked on 100,000 rows, a third of them near split points: how "
        "many rows get another class than from scikit-learn, and the largest difference of a probability."
    )
    return table("Engines", remark, head, lines)
