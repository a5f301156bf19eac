"""`tabserve test`: the checks of `api_checks`, with this command to train and serve where no server is running."""

from collections.abc import Sequence
from pathlib import Path

from api_checks import runner
from tabserve import __version__
from tabserve.cli.pipeline import INSTALLED


def main(argv: Sequence[str] | None = None, *, root: Path, program: str) -> int:
    train, serve = INSTALLED.train.process, INSTALLED.serve.process
    return runner.main(argv, program=program, version=__version__, train=train, serve=serve, folder=root)
