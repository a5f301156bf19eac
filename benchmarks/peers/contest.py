"""The peers' servers and engines beside this project's: the same model, on the same core, in turns."""

import json
import os
import shutil
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import joblib
import numpy as np
import skops.io

from benchmarks.bodies import rows, singles
from benchmarks.load import Load, content, run
from benchmarks.measure import spread, table
from benchmarks.peers.start import ENGINES, ENGINES_LOCK, PEERS, Peer, environment
from benchmarks.servers import LOAD_CORE, PROBE, ROOT, SERVER_CORE, Server, on_core, serving
from tabserve.model import release
from tabserve.model.predictor import Predictor
from tabserve.training import dataset, parity, schema_inference
from tabserve.training.pipeline import TRUSTED_TYPES

CONNECTIONS = (1, 16, 64)

DOCUMENTED, COMPILED = ENGINES


@dataclass
class Turns:
    """What a peer's server and this project's did in turns, by number of connections.

    `cpu`: seconds of the core for a request of the peer's, at 16 connections.
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
        return statistics.median(load.throughput for load in self.theirs[connections])

    def times(self, connections: int) -> list[float]:
        """This project's throughput to the peer's, turn by turn."""
        turns = zip(self.ours[connections], self.theirs[connections], strict=True)
        return [ours.throughput / theirs.throughput for ours, theirs in turns]

    def take(self, ours: Server, workspace: Path, seconds: float, cycles: int) -> None:
        drawn = rows(5000)
        to_us, to_them = singles(drawn), [self.peer.request(row) for row in drawn.tolist()]
        expected = Predictor(release.read(workspace / "release")).row_outputs(drawn[0].tolist())[0]
        with self.peer.serving(workspace, self.engine, batching=self.batching) as theirs:
            _, reply = theirs.wait_until_ready(to_them[0])
            answered = self.peer.read(json.loads(content(reply)))
            if not np.allclose(answered, expected, rtol=0, atol=1e-12):
                raise RuntimeError(f"{self.name} answers {answered}, the model {expected}")
            run(theirs.port, 16, seconds, to_them)
            for connections in CONNECTIONS:
                for _ in range(cycles):
                    before = theirs.cpu_seconds()
                    load = run(theirs.port, connections, seconds, to_them)
                    if connections == 16:
                        self.cpu.append((theirs.cpu_seconds() - before) / (load.throughput * seconds))
                    self.theirs[connections].append(load)
                    self.ours[connections].append(run(ours.port, connections, seconds, to_us))


def prepare(workspace: Path) -> None:
    """Puts the model of a workspace's trainings, which are all the same, where peers and engines look for it, with rows
    near its split points."""
    for lock in (ENGINES_LOCK, *(peer.lock for peer in PEERS)):
        environment(lock)
    shutil.copytree(max((workspace / "artifacts").glob("*/release")), workspace / "release")
    pipeline = skops.io.load(next((workspace / "mlruns").rglob("model.skops")), trusted=TRUSTED_TYPES)
    joblib.dump(pipeline, workspace / "model.joblib")
    table = dataset.load_iris()
    schema = schema_inference.infer_schema(table)
    np.save(workspace / "rows.npy", parity.probing_rows(pipeline, schema, table, 100_000, seed=1))


def servers(workspace: Path, seconds: float, cycles: int) -> tuple[str, dict[str, list[float]]]:
    """Every peer, in each of its modes; and the throughputs of the best, by number of connections, for a picture."""
    found = [
        Turns(peer, engine, batching)
        for engine in ENGINES
        for peer in PEERS
        for batching in ((False, True) if peer.batching else (False,))
    ]
    with serving("ours", workspace) as ours:
        ours.wait_until_ready(PROBE)
        for turns in found:
            print(f"{turns.name}, {turns.engine} …", flush=True)
            turns.take(ours, workspace, seconds, cycles)
    best = {
        engine: [max(_of(found, engine), key=lambda turns: turns.throughput(count)) for count in CONNECTIONS]
        for engine in ENGINES
    }
    text = table(
        "Peers",
        "One row a request, the same model, each in an environment of its own. As documented they compute it by "
        "scikit-learn; compiled, by this project's engine. How many times their throughput this project has.",
        ["server", "engine", *(f"requests/s at {count}" for count in CONNECTIONS),
         *(f"times, at {count}" for count in CONNECTIONS), "CPU, µs a request"],
        [
            [
                turns.name,
                turns.engine,
                *(f"{turns.throughput(count):,.0f}" for count in CONNECTIONS),
                *(spread(turns.times(count), ".1f") for count in CONNECTIONS),
                f"{statistics.median(turns.cpu) * 1e6:,.0f}",
            ]
            for turns in found
        ],
    )  # fmt: skip
    summary = table(
        "The best peer",
        "How many times the throughput of whichever peer is the fastest at so many connections.",
        ["connections", "as documented", "", "with the same compiled engine", ""],
        [
            [str(count), *(cell for engine in ENGINES for cell in _against(best[engine][number], count))]
            for number, count in enumerate(CONNECTIONS)
        ],
    )
    throughputs = {
        engine: [turns.throughput(count) for turns, count in zip(best[engine], CONNECTIONS, strict=True)]
        for engine in ENGINES
    }
    return f"{summary}\n\n{text}", throughputs


def _of(found: Sequence[Turns], engine: str) -> list[Turns]:
    return [turns for turns in found if turns.engine == engine]


def _against(turns: Turns, connections: int) -> tuple[str, str]:
    return spread(turns.times(connections), ".1f"), turns.name


def engines(workspace: Path, seconds: float) -> str:
    """Every engine that was tried, in their environment, on the core of the servers."""
    python = str(environment(ENGINES_LOCK) / "bin" / "python")
    on_core(SERVER_CORE)
    done = subprocess.run(
        [python, "-m", "benchmarks.peers.engines", str(seconds)],
        cwd=ROOT, env=os.environ | {"PEER_WORKSPACE": str(workspace)}, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    on_core(LOAD_CORE)
    found = json.loads(done.stdout)
    counts = list(next(iter(found.values()))["many"])
    lines = [
        [
            f"**{name}**" if name == "this project" else name,
            f"{engine['one']:,.1f}",
            *(f"{engine['many'][count]:,.0f}" for count in counts),
            f"{engine['wrong']}",
            f"{engine['difference']:.0e}" if engine["difference"] else "0",
        ]
        for name, engine in found.items()
    ]
    head = [
        "engine",
        "one row, µs",
        *(f"{int(count):,} at once, rows/s" for count in counts),
        "other classes",
        "difference",
    ]
    remark = (
        "100 trees on Iris, in this process, one core. Of 100,000 rows, one third near split points: how many get "
        "another class than from scikit-learn, and the largest difference of a probability."
    )
    return table("Engines", remark, head, lines)
