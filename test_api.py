"""Checks a running API from outside, over HTTP, against its contract. Knows nothing of the code that serves it.

    python test_api.py                          http://localhost:8000; if nothing answers there, a server of its own
    python test_api.py --url http://host:8000   another address

pytest collects the same checks from this file. The checks are in the folder `api_checks`, a file for each topic.
"""

import sys
from pathlib import Path

try:
    from api_checks import runner
except ModuleNotFoundError as missing:
    sys.exit(
        f"test_api.py: {missing}. Run `. .venv/bin/activate` first, or `python run_pipeline.py`, which makes .venv"
    )

ROOT = Path(__file__).resolve().parent
TRAIN, SERVE = (sys.executable, "train_model.py"), (sys.executable, "api.py")

globals().update({check.__name__: check for check in runner.IRIS_CHECKS})  # for pytest

if __name__ == "__main__":
    # read, not imported: this is a client
    version = (ROOT / "tabserve" / "__init__.py").read_text(encoding="utf-8").partition('__version__ = "')[2]
    version = version.partition('"')[0]
    sys.exit(runner.main(program="test_api.py", version=version, train=TRAIN, serve=SERVE, folder=ROOT))
