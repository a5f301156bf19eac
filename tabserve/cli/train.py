"""`tabserve train`, and what is around the recipe of `train_model.py`: settings, progress, messages, exit statuses.

Importing this module is cheap. The recipe imports the libraries, once the options are known to be right.
"""

import gc
import logging
import os
import runpy
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import tabserve
from tabserve.cli.table_options import require_model_name
from tabserve.cli.train_options import TrainOptions, parse
from tabserve.errors import NoModelError, SettingsError, TabserveError, TrackingError
from tabserve.settings import Settings
from tabserve.store_uri import redacted
from tabserve.training import ReportProgress

QUIET_SECONDS = 5
"""A step that takes longer says how far it is, each time after so many seconds."""


class StepProgress:
    """Prints what is done and how long it took and, while a step takes long, how far it is.

    Attributes:
        reached: what would remain of the training if it ended now, in words.
    """

    def __init__(self) -> None:
        self.reached = "nothing was published"
        self._done = self._printed = time.perf_counter()

    def during(self, step: str) -> ReportProgress:
        """What the step calls with the share of its work that is done."""

        def report_progress(share: float) -> None:
            now = time.perf_counter()
            if now - max(self._done, self._printed) >= QUIET_SECONDS and share < 1:
                self._printed = now
                print(f"{now - self._done:6.0f} s  {step}: {share:.0%} so far", flush=True)

        return report_progress

    def done(self, step: str) -> None:
        now = time.perf_counter()
        print(f"{now - self._done:6.2f} s  {step}", flush=True)
        self._done = now


Recipe = Callable[[TrainOptions, Settings, StepProgress], None]


def main(argv: Sequence[str] | None = None, *, root: Path, program: str) -> int:
    """`tabserve train`: runs the recipe in `train_model.py`, which is installed beside this package."""
    # not imported by name, because a file of that name in the working directory could come first
    script = runpy.run_path(str(Path(tabserve.__file__).parents[1] / "train_model.py"))
    status: int = script["main"](argv, root=root, program=program)
    return status


def run_recipe(recipe: Recipe, argv: Sequence[str] | None, *, root: Path, program: str) -> int:
    """Runs a recipe with the options of the command line. Returns the exit status; an error is a line on stderr."""
    options = parse(argv, root=root, program=program)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # before OpenMP is loaded: threads of gradient boosting that wait by spinning keep busy cores from the work
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    warnings.showwarning = partial(_show_warning, warnings.showwarning)
    # MLflow's file store warns through the root logger, at each attempt, of an error that it raises in the end
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("tabserve").setLevel(logging.WARNING)
    progress = StepProgress()
    try:
        file = options.table.file if options.table else None
        settings = Settings.load(root, table=file, model_name=options.model_name, tracking_uri=options.tracking_uri)
        require_model_name(options.table, settings)
        if options.unless_trained and (version := live_version(settings)):
            print(f"{settings.model_name} {version} is live already: nothing to train")
            return 0
        recipe(options, settings, progress)
    except (TabserveError, OSError) as error:
        for line in str(error).splitlines():
            print(f"{program}: {line}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{program}: interrupted; {progress.reached}", file=sys.stderr)
        return 130
    finally:
        gc.freeze()  # otherwise the interpreter scans all objects when it exits, which takes longer than the fit
    return 0


def _show_warning(show: Callable[..., None], message: Warning | str, *context: Any) -> None:
    """Shows a warning, except one of scikit-learn that is wrong: while a thread of it sets the filters of warnings,
    another thread finds none, and takes that for a mistake of its caller (scikit-learn 1.9)."""
    if "`sklearn.utils.parallel.delayed` should be used" not in str(message):
        show(message, *context)


def live_version(settings: Settings) -> str | None:
    """The model version that is live; None if none is. Repairs a registry that a killed training left unreadable."""
    from tabserve.registry import open_registry

    registry = open_registry(settings)
    try:
        try:
            return registry.champion().model_version
        except TrackingError:
            if not registry.repair():
                raise
            return registry.champion().model_version
    except NoModelError:
        return None


def next_step(options: TrainOptions, settings: Settings, registry_version: str, *, is_live: bool) -> str:
    """What to do with the new version, as a command that works on the same store and model."""
    try:
        default: Settings | None = Settings.load(options.root)  # what the other commands use by themselves
    except SettingsError:
        default = None  # unusable; the options replaced what is wrong
    environment = ""
    if default is None or settings.tracking_uri != default.tracking_uri:
        environment += f"MLFLOW_TRACKING_URI={shlex.quote(redacted(settings.tracking_uri))} "
    if default is None or settings.model_name != default.model_name:
        environment += f"TABSERVE_MODEL_NAME={shlex.quote(settings.model_name)} "
    is_script = options.program.endswith(".py")
    if is_live:
        serve = "python api.py" if is_script else "tabserve serve"
        return f"`{environment}{serve}` serves the live model; a running server has it within seconds."
    promote = "python promote_model.py" if is_script else "tabserve promote"
    return f'`{environment}{promote} {registry_version} --why "…"` makes it live.'
