"""Serves the live model over HTTP.

    python api.py                              on the address in the settings, http://localhost:8000 by default
    uvicorn api:app --http api:Protocol        the same application under uvicorn's own options
    gunicorn api:app -k api.Worker             and under gunicorn's

Importing this module reads no setting and opens nothing: these names are made on the first access.
"""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":  # before the slow imports: process 1 of a container ignores a signal without a handler
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))

try:
    from tabserve.cli import serve
except ModuleNotFoundError as missing:
    sys.exit(f"api.py: {missing}. Run `. .venv/bin/activate` first, or `python run_pipeline.py`, which makes .venv")

if TYPE_CHECKING:
    from tabserve.web import Application

    app: Application

ROOT = Path(__file__).resolve().parent


def __getattr__(name: str) -> Any:
    """Makes `app`, `Protocol` and `Worker`, for uvicorn and gunicorn."""
    made = globals()
    match name:
        case "app":
            made[name] = serve.load_application(
                ROOT, "api.py", has_own_protocol=lambda: "Protocol" in made or "Worker" in made
            )
        case "Protocol":
            made[name] = serve.load_protocol()
        case "Worker":
            made[name] = serve.load_worker(ROOT, "api.py")
        case _:
            raise AttributeError(f"module 'api' has no attribute {name!r}")
    return made[name]


if __name__ == "__main__":
    sys.exit(serve.main(root=ROOT, program="api.py"))
