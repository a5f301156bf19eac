"""Tables that are no single file: a database, standard input, a folder. And no password is left anywhere."""

import subprocess
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy

from tests.support.postgresql import PASSWORD, USER, postgresql, programs
from tests.support.tables import ROWS, csv_rows
from tests.support.waiting import LONG_LIMIT
from tests.support.workspaces import Workspace

FRAME = pd.DataFrame(ROWS * 2, columns=["x", "z", "y"]).astype({"x": float})

FAST = ("--n-estimators", "5", "--folds", "2")


def files_with(folder: Path, *texts: str) -> list[Path]:
    """The files below a folder that hold one of the texts, in their content or their name."""
    found = []
    for file in folder.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        if any(text.encode() in content or text in file.name for text in texts):
            found.append(file)
    return found


@pytest.mark.skipif(programs() is None, reason="PostgreSQL isn't installed")
def test_query_of_postgresql_is_trained_on_and_no_secret_is_left_anywhere(empty_workspace: Workspace) -> None:
    """Neither in what is printed, nor in metadata, card, MLflow and journal, nor after a wrong password or query."""
    with postgresql() as address:
        engine = sqlalchemy.create_engine(address)
        FRAME.assign(price=FRAME["x"].map("{:.2f}".format)).to_sql("sales", engine, index=False)
        engine.dispose()
        train = ("train_model.py", "--target", "y", "--model-name", "sales", *FAST)
        query = ("--query", "select x, z, price::numeric, y from sales")
        done = empty_workspace.run(*train, "--data", address, *query)
        assert done.returncode == 0, done.stderr
        assert "query: 64 rows" in done.stdout
        refused = [
            empty_workspace.run(*train, "--data", address.replace("1@", "2@"), *query),
            empty_workspace.run(*train, "--data", address, "--query", "delete from sales"),
            empty_workspace.run(*train, "--data", address),
            empty_workspace.run(*train, "--data", f"{address}?sslmode=nonsense", *query),
        ]
        for failed in refused:
            assert failed.returncode in (1, 2)
            assert "Traceback" not in failed.stderr
        pipeline = ("run_pipeline.py", "--exit", "--port", "0", "--target", "y", "--model-name", "sales")
        piped = empty_workspace.run(*pipeline, "--data", address, *query)
        assert piped.returncode == 0, piped.stderr
    quoted = address.partition("://")[2].partition("@")[0].partition(":")[2]
    secrets = (USER, PASSWORD, quoted, quoted.replace("1", "2"))
    for printed in (done, piped, *refused):
        assert not [text for text in secrets if text in printed.stdout + printed.stderr], printed.stderr
    assert files_with(empty_workspace.folder, *secrets) == []
    assert files_with(empty_workspace.folder, "query")


def test_standard_input_is_trained_on(empty_workspace: Workspace) -> None:
    """With a name for the model."""
    command = [*empty_workspace.command("train_model.py"), "--data", "-", "--target", "y", *FAST]
    done = subprocess.run(
        [*command, "--model-name", "piped"],
        input="x,z,y\n" + csv_rows() * 2,
        cwd=empty_workspace.folder,
        env=empty_workspace.environment,
        capture_output=True,
        text=True,
        timeout=LONG_LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "stdin: 64 rows" in done.stdout


def test_folder_needs_a_name_for_the_model(tmp_path: Path) -> None:
    """It is no file after which the model could be named; the setting names it, too."""
    workspace = Workspace(tmp_path)
    (tmp_path / "parts").mkdir()
    FRAME.to_parquet(tmp_path / "parts" / "1.parquet")
    train = ("train_model.py", "--data", "parts", "--target", "y", *FAST)
    refused = workspace.run(*train, TABSERVE_MODEL_NAME="")
    assert refused.returncode == 1
    assert refused.stderr == (
        "train_model.py: --data: name the model with --model-name, because parts is no file with a name\n"
    )
    assert workspace.run(*train, TABSERVE_MODEL_NAME="parts").returncode == 0
