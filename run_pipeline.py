"""From nothing to a tested, running service with one command. Needs Python 3.11 or newer; nothing has to be installed.

    python run_pipeline.py            environment -> train -> serve -> test -> addresses; then serves until Ctrl-C
    python run_pipeline.py --exit     the same, but stops after the tests; status 0 only if all passed
    python run_pipeline.py --data penguins.csv --target species    the same with a table of your own
    python run_pipeline.py --check    lint, types, import rules and tests of the project itself

This file is written so that any older Python can read it, and say that it is too old.
"""

import sys

OLDEST_PYTHON = (3, 11)

if __name__ == "__main__":
    if sys.version_info < OLDEST_PYTHON:
        sys.exit("run_pipeline.py: Python 3.11 or newer is needed, and this is " + sys.version.split()[0])

    from pathlib import Path

    from tabserve.cli import bootstrap

    sys.exit(bootstrap.main(root=Path(__file__).resolve().parent, program="run_pipeline.py"))
