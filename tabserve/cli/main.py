"""The command `tabserve`: finds the sub-command, and runs it on the working directory. Standard library only."""

import argparse
import importlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tabserve import __version__

PROGRAM = "tabserve"

COMMANDS = {
    "run": ("tabserve.cli.pipeline", "train, serve, test, print every address, and go on serving"),
    "train": ("tabserve.cli.train", "train a model on a table, and publish it"),
    "serve": ("tabserve.cli.serve", "serve the live model over HTTP"),
    "promote": ("tabserve.cli.promote", "list the versions of the model, and choose the live one"),
    "test": ("tabserve.cli.test", "check a running API against its contract"),
}
"""Sub-command -> its module, imported when it is called, and what it does."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a sub-command on the `mlruns/`, `artifacts/` and `.env` of the working directory; returns its status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    if not arguments:
        parser.print_help(sys.stderr)
        return 2
    name, *options = arguments
    if name not in COMMANDS:
        parser.parse_args([name])  # prints the help or the version, or says what is wrong
        return 2
    # before the slow imports: process 1 of a container ignores a signal without a handler
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0 if name == "serve" else 143))
    module = importlib.import_module(COMMANDS[name][0])
    status: int = module.main(options, root=Path.cwd(), program=f"{PROGRAM} {name}")
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage="tabserve COMMAND [options]",
        description="From a labelled table to a monitored, versioned prediction service.",
        epilog="`tabserve COMMAND --help` lists the options of a command. Every command works on the mlruns/, "
        "artifacts/ and .env of the working directory.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (_, description) in COMMANDS.items():
        commands.add_parser(name, help=description)
    return parser
