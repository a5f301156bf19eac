"""The start of the server: the time to its first prediction, and the memory that it then has."""

from pathlib import Path

from benchmarks.measure import spread, table
from benchmarks.servers import PROBE, serving


def report(workspace: Path, cycles: int) -> str:
    """From the start of `python api.py` to its first reply, with a trained model in the workspace."""
    durations, memory = [], []
    for _ in range(cycles + 1):
        with serving("ours", workspace) as server:
            durations.append(server.wait_until_ready(PROBE)[0])
            memory.append(server.memory())
    # the first start doesn't count: it compiles modules whose bytecode Python then caches
    line = [spread(durations[1:]), spread(memory[1:], ".0f")]
    head = ["seconds to the first prediction", "memory after it, MB"]
    return table("Start", "MLflow's store is a folder.", head, [line])
