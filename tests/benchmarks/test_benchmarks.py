"""The benchmarks run, their report has every measurement, and they compare the same model and libraries."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.load import HOST, Connection
from benchmarks.peers.start import ENGINES_LOCK, PEERS, TABLES_LOCK
from tests.support.project import PYTHON, ROOT
from tests.support.waiting import LONG_LIMIT


@pytest.mark.parametrize("framing", ["content-length: 99", "transfer-encoding: chunked"])
@pytest.mark.parametrize("reply", ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\n{framing}\r\n\r\n4\r\nhalf\r\n"])
def test_reply_that_ends_too_early_is_an_error(reply: str, framing: str) -> None:
    """The load generator doesn't wait for a server that closes the connection before its reply is whole."""
    with socket.create_server((HOST, 0)) as server:
        connection = Connection(server.getsockname()[1])
        accepted, _ = server.accept()
        with connection.socket, accepted:
            accepted.sendall(reply.format(framing=framing).encode())
            accepted.shutdown(socket.SHUT_WR)
            with pytest.raises(RuntimeError, match=r"the server (answered|closed the connection in the middle of)"):
                connection.exchange(b"GET / HTTP/1.1\r\n\r\n")


@pytest.mark.skipif(
    sys.platform != "linux" or (os.cpu_count() or 1) < 2,
    reason="server and load are pinned to a core each, which needs Linux and two cores",
)
def test_benchmarks_write_a_report_with_every_measurement(tmp_path: Path) -> None:
    """One command measures everything and writes the report, with a number in every cell of every table."""
    output = tmp_path / "RESULTS.md"
    command = [PYTHON, "-m", "benchmarks.run", "--quick", "--seconds", "0.05", "--cycles", "1", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG_LIMIT, check=False)
    assert done.returncode == 0, done.stderr
    report = output.read_text()
    for title in (
        "One row per request",
        "A table of 30 features",
        "Many rows per request",
        "Beside a large batch",
        "Start",
        "Swapping",
        "The engine",
    ):
        assert f"## {title}" in report
    assert "nan" not in report
    assert report.count("| **this project** |") == 3
    assert output.with_suffix(".png").stat().st_size > 10_000


def test_models_of_a_public_table_are_measured_beside_plain_pipelines(tmp_path: Path) -> None:
    """A table of scikit-learn's is measured without another environment: the report has the scores and the costs of our
    models and of plain ones, and they are nearly as good as each other."""
    output = tmp_path / "TABLES.md"
    command = [PYTHON, "-m", "benchmarks.tables", "--quick", "--only", "wine", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG_LIMIT, check=False)
    assert done.returncode == 0, done.stderr
    report = output.read_text()
    scores, fit, predict = ([line for line in part.splitlines() if "|" in line] for part in report.split("## ")[1:])
    cells = dict(zip(*(line.split(" | ") for line in (scores[0], scores[2])), strict=True))
    assert all(float(cells[name]) > 0.95 for name in ("forest", "boosting", "linear", "plain forest", "plain linear"))
    assert len(scores) == len(fit) == len(predict) == 3  # head, dashes, and a line for the table
    assert "nan" not in report


def test_peers_have_our_versions_of_scikit_learn_and_llvm() -> None:
    """The environments of peers and engines have the scikit-learn and the LLVM of this project's lock, so that servers
    are compared, and not versions."""
    ours = pinned(ROOT / "requirements.txt")
    for lock in {ENGINES_LOCK, *(peer.lock for peer in PEERS)}:
        theirs = pinned(lock)
        assert (theirs["scikit-learn"], theirs["llvmlite"]) == (ours["scikit-learn"], ours["llvmlite"]), lock.name
    assert pinned(TABLES_LOCK)["scikit-learn"] == ours["scikit-learn"]


def pinned(lock: Path) -> dict[str, str]:
    """The versions in a lock, by package."""
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", lock.read_text(), re.MULTILINE))
