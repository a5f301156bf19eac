"""The benchmarks run, and their report has every measurement."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.load import HOST, Connection
from benchmarks.peers.start import ENGINES_LOCK, PEERS
from tests.support.project import PYTHON, ROOT


@pytest.mark.parametrize("framed", ["content-length: 99", "transfer-encoding: chunked"])
@pytest.mark.parametrize("said", ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\n{framed}\r\n\r\n4\r\nhalf\r\n"])
def test_a_reply_that_ends_too_early_is_an_error(said: str, framed: str) -> None:
    """A server that closes a connection before its reply is whole isn't waited for."""
    with socket.create_server((HOST, 0)) as server:
        connection = Connection(server.getsockname()[1])
        accepted, _ = server.accept()
        with connection.socket, accepted:
            accepted.sendall(said.format(framed=framed).encode())
            accepted.shutdown(socket.SHUT_WR)
            with pytest.raises(RuntimeError, match=r"the server (answered|closed the connection in the middle of)"):
                connection.exchange(b"GET / HTTP/1.1\r\n\r\n")


@pytest.mark.skipif(
    sys.platform != "linux" or (os.cpu_count() or 1) < 2,
    reason="server and load are pinned to a core each, which takes Linux and two of them",
)
def test_the_benchmarks_run(tmp_path: Path) -> None:
    """One command measures and writes the report, with a number in every cell of every table."""
    output = tmp_path / "RESULTS.md"
    command = [PYTHON, "-m", "benchmarks.run", "--quick", "--seconds", "0.05", "--cycles", "1", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
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


def test_peers_have_the_same_model_and_engine() -> None:
    """The environments of peers and engines have the scikit-learn and the LLVM of this project's lock, so that servers
    are compared and not versions."""
    ours = pinned(ROOT / "requirements.txt")
    for lock in {ENGINES_LOCK, *(peer.lock for peer in PEERS)}:
        theirs = pinned(lock)
        assert (theirs["scikit-learn"], theirs["llvmlite"]) == (ours["scikit-learn"], ours["llvmlite"]), lock.name


def pinned(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", lock.read_text(), re.MULTILINE))
