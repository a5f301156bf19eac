"""A PostgreSQL server of its own for a test, from Debian's package or from the PATH."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from tabserve.cli.addresses import free_port
from tests.support.waiting import LIMIT

USER, PASSWORD = "sales_reader", "pass/w@rd:1"


def programs() -> Path | None:
    """The folder with `initdb` and `pg_ctl`; None if PostgreSQL isn't installed."""
    found = shutil.which("pg_ctl")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders else None


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of a running server, with the user and the password that it demands. Its database is empty."""
    folder, bin_folder = Path(tempfile.mkdtemp()), programs()
    assert bin_folder
    folder.chmod(0o755)
    owner = None
    if os.geteuid() == 0:  # the server refuses to run as root
        owner = "postgres"
        os.chown(folder, pwd.getpwnam(owner).pw_uid, -1)

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [str(bin_folder / program), "-D", str(folder / "data"), *arguments],
            user=owner,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=LIMIT,
        )

    (folder / "password").write_text(PASSWORD)
    port = free_port("127.0.0.1")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    try:
        run("initdb", "-U", USER, "--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "-N", "-E", "UTF8")
        run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)
