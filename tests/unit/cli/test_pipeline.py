"""The addresses that the pipeline prints."""

from pathlib import Path

from tabserve.cli import pipeline


def test_tracking_server_is_its_own_ui() -> None:
    """With a tracking server the UI's address is the server's, without its password; no command is printed."""
    assert pipeline.mlflow_ui("http://me:secret@host:5000", Path("/srv/folder")) == "http://host:5000"


def test_ui_of_a_file_store_starts_in_its_folder() -> None:
    """With a file store a command starts the UI in the folder that holds the store."""
    command = pipeline.mlflow_ui("file:///my%20data/mlruns", Path("/srv/folder"))
    assert "cd '/my data' && " in command
    assert command.endswith(" --backend-store-uri file:./mlruns")
