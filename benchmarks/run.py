"""Measures this project side by side with other servers, and writes benchmarks/RESULTS.md and benchmarks/RESULTS.png.

    python -m benchmarks.run --quick    a minute and a half; Linux, two cores
    python -m benchmarks.run            twenty minutes, with the peers, whose environments take 4 GB

The server has one core and the load the other. The servers take turns over several cycles, and the result is a ratio
within one run: absolute numbers change with the machine and the hour, ratios change little. The model has 100 trees on
Iris, and the rows are random and rarely repeat.
"""

import argparse
import os
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks import batches, beside, engine, mixed, picture, single, starts, swaps
from benchmarks.servers import LOAD_CORE, ROOT, on_core, require_two_cores, train


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure, and write benchmarks/RESULTS.md.")
    parser.add_argument("--quick", action="store_true", help="leave out the peers, and measure for a shorter time")
    parser.add_argument("--seconds", type=float, help="seconds per measurement (default: 1, quick: 0.4)")
    parser.add_argument("--cycles", type=int, help="turns of each server (default: 5, quick: 3)")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "RESULTS.md", help="the report to write")
    options = parser.parse_args()
    require_two_cores()
    seconds = options.seconds or (0.4 if options.quick else 1.0)
    cycles = options.cycles or (3 if options.quick else 5)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        for _ in range(2):  # two versions, one to swap with the other
            train(workspace)
        on_core(LOAD_CORE)
        one_row, throughputs = single.report(workspace, seconds, cycles)
        sections = [
            one_row,
            mixed.report(workspace, seconds, cycles),
            batches.report(workspace, seconds),
            beside.report_batch(workspace, seconds, cycles),
            beside.report_challenger(workspace, seconds, cycles),
            starts.report(workspace, cycles),
            swaps.report(workspace, seconds, cycles),
            engine.report(seconds),
        ]
        if not options.quick:
            from benchmarks.peers import contest

            contest.prepare(workspace)
            peers, fastest = contest.report_servers(workspace, seconds, cycles)
            throughputs |= fastest
            sections += [peers, contest.report_engines(workspace, seconds)]
    picture.draw(throughputs, options.output.with_suffix(".png"))
    remark = described("python -m benchmarks.run" + " --quick" * options.quick, time.perf_counter() - started)
    options.output.write_text("\n\n".join(["# Results", remark, *sections]) + "\n", encoding="utf-8")
    print(f"\nwrote {options.output}")


def described(command: str, seconds: float) -> str:
    """When and where the command measured, and how to read the tables."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("fastapi", "uvicorn", "llvmlite", "scikit-learn"))
    return (
        f"Measured {time.strftime('%Y-%m-%d')} by `{command}` in {seconds / 60:.1f} minutes on "
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, {libraries}. Medians of "
        "the cycles; in brackets the smallest and the largest value."
    )


if __name__ == "__main__":
    main()
