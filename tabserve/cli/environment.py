"""The virtual environment of `run_pipeline.py`: made, entered, filled from a lock. Standard library only."""

import collections
import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from tabserve.cli.processes import StepError, report, stop

OLDEST_PYTHON = (3, 11)

STEP = "environment"


def enter(root: Path, script: Path, arguments: Sequence[str]) -> None:
    """Continues in a virtual environment.

    Returns if one (or conda's) is active. Otherwise replaces this process by `script` in `root/.venv`, which is made
    first if there is none that can be used.
    """
    if sys.prefix != sys.base_prefix or (Path(sys.prefix) / "conda-meta").is_dir():
        return
    folder = root / ".venv"
    python = folder / "bin" / "python"
    if not is_usable(python):
        report(STEP, f"making {folder}")
        command = [sys.executable, "-m", "venv", "--clear", str(folder)]
        making = subprocess.run(command, capture_output=True, text=True, check=False)
        if making.returncode or not is_usable(python):
            hint = " (on Debian and Ubuntu: apt install python3-venv)" if "ensurepip" in making.stdout else ""
            raise StepError(f"{folder} can't be made{hint}: {(making.stderr or making.stdout).strip()[-300:]}")
    sys.stdout.flush()
    os.execv(python, [str(python), str(script), *arguments])


def is_usable(python: Path) -> bool:
    """Whether this is an interpreter that is new enough and has pip. A half-made environment has none."""
    probe = f"import pip, sys; sys.exit(sys.version_info < {OLDEST_PYTHON})"
    try:
        return subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def install(lock: Path) -> None:
    """Installs those packages of a lock that are missing here, by version and hash. Uses no network if none is.

    Raises:
        StepError: the environment can't be written, or pip failed.
    """
    missing = missing_requirements(lock)
    if not missing:
        report(STEP, f"{sys.prefix} has everything in {lock.name}")
        return
    report(STEP, f"installing {len(missing)} packages of {lock.name} into {sys.prefix}")
    try:
        folder = tempfile.TemporaryDirectory(prefix=".pip-", dir=sys.prefix)
    except OSError as error:
        raise StepError(f"{sys.prefix} can't be written: {error.strerror}. Activate an environment of yours") from None
    with folder as temporary:
        requirements = Path(temporary) / "missing.txt"
        requirements.write_text("\n".join(missing), encoding="utf-8")
        # the lock is complete, so pip need not resolve dependencies
        pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--require-hashes", "--disable-pip-version-check"]
        process = subprocess.Popen(
            [*pip, "-r", str(requirements)],
            env=os.environ | {"TMPDIR": temporary},  # an interrupted pip leaves its unpacked files there
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            last_lines = follow_pip(process.stdout or (), len(missing))
            if process.wait():
                log = "".join(last_lines)
                raise StepError(f"{log}\nenvironment: pip could not install the packages; it says why above")
        finally:
            stop(process)


def follow_pip(lines: Iterable[str], packages: int) -> list[str]:
    """Reports pip's progress as a count of packages. Returns pip's last lines, which say why if it failed."""
    last_lines: collections.deque[str] = collections.deque(maxlen=20)
    fetched = 0
    for line in lines:
        last_lines.append(line)
        if line.startswith(("Collecting ", "Processing ")):
            fetched += 1
            if fetched % 10 == 0 or fetched == packages:
                report(STEP, f"  {fetched} of {packages} fetched")
        elif line.startswith("Installing collected packages"):
            report(STEP, "  installing them, which takes a while")
    return list(last_lines)


def missing_requirements(lock: Path) -> list[str]:
    """The entries of a lock, with their hashes, that apply to this platform and aren't installed in that version."""
    try:
        from pip._vendor.packaging.requirements import Requirement
    except ImportError:
        ensured = subprocess.run([sys.executable, "-m", "ensurepip"], capture_output=True, check=False)
        if ensured.returncode:
            raise StepError(f"{sys.prefix} has no pip, and ensurepip can't add it: install pip there") from None
        from pip._vendor.packaging.requirements import Requirement

    distributions = importlib.metadata.distributions()
    installed = {normalized(distribution.name): distribution.version for distribution in distributions}
    missing = []
    for entry in re.findall(
        r"^[a-zA-Z0-9].*?(?=^[a-zA-Z0-9]|\Z)", lock.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        requirement = Requirement(entry.partition("\\")[0].strip())
        if requirement.marker and not requirement.marker.evaluate():
            continue
        if str(requirement.specifier) != f"=={installed.get(normalized(requirement.name))}":
            missing.append(re.sub(r"^\s*#.*\n?", "", entry, flags=re.MULTILINE).strip())
    return missing


def normalized(name: str) -> str:
    """A package's name as PEP 503 normalizes it."""
    return re.sub(r"[-_.]+", "-", name).lower()
