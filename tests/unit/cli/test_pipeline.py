"""The addresses that the pipeline prints, and how it stops."""

import io
import signal
from pathlib import Path

import pytest

from tabserve.cli import pipeline
from tests.support.project import PYTHON


def test_tracking_server_is_its_own_ui() -> None:
    """With a tracking server the UI's address is the server's, without its password; no command is printed."""
    assert pipeline.mlflow_ui("http://me:secret@host:5000", Path("/srv/folder")) == "http://host:5000"


def test_ui_of_a_file_store_starts_in_its_folder() -> None:
    """With a file store a command starts the UI in the folder that holds the store."""
    command = pipeline.mlflow_ui("file:///my%20data/mlruns", Path("/srv/folder"))
    assert "cd '/my data' && " in command
    assert command.endswith(" --backend-store-uri file:./mlruns")


class InterruptedOutput(io.StringIO):
    """A terminal where Ctrl-C is pressed as soon as a line says so."""

    def write(self, text: str) -> int:
        written = super().write(text)
        if "Ctrl-C" in text:
            signal.raise_signal(signal.SIGINT)
        return written


def test_interrupt_right_after_serving_was_said_is_a_normal_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the line on that says that it serves until Ctrl-C, Ctrl-C is the way to stop it, and not a failure."""
    output = InterruptedOutput()
    server = pipeline.Server([PYTHON, "-c", "import signal; signal.pause()"], tmp_path)
    monkeypatch.setattr("sys.stdout", output)
    try:
        server.follow()
    finally:
        server.stop()
    assert output.getvalue().startswith("Serving until Ctrl-C.")
