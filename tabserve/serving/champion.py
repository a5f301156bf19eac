"""Follows the champion: loads and verifies the version that the registry says is live, then swaps it in.

The new model is loaded beside the one that is served, which goes on if anything fails. At a start without an answer of
the registry, the version that was served last is served again.
"""

import logging
import threading
import time
from dataclasses import replace

from tabserve.errors import NoModelError, ReleaseError, TabserveError
from tabserve.model import RegisteredVersion
from tabserve.monitoring import Metrics, ReloadFailure
from tabserve.serving.loader import Loader, Source, growing_pause
from tabserve.serving.state import LOADING, CurrentState, LoadedModel

log = logging.getLogger("tabserve.serving")

SECOND_TRY_SECONDS = 0.1
"""A file store has no transactions, so a poll may read it in the middle of a write. It is over by the second try."""


class ChampionFollower:
    """Keeps what is served to the registry's champion. One thread polls.

    Attributes:
        failures: how many polls in a row the registry couldn't be asked.
    """

    def __init__(
        self, source: Source, metrics: Metrics, current: CurrentState, poll_seconds: float, stopping: threading.Event
    ) -> None:
        """`stopping`: set when the service stops; it ends every wait."""
        self._source, self._metrics, self._current = source, metrics, current
        self._poll_seconds, self._stopping = poll_seconds, stopping
        self._loader = Loader(source, poll_seconds, on_refusal=metrics.service.reload_failed)
        self.failures = 0

    def pause(self) -> float:
        """Seconds until the next poll. They grow while the registry can't be asked."""
        return growing_pause(self._poll_seconds, self.failures) if self.failures else self._poll_seconds

    def poll(self) -> RegisteredVersion | None:
        """Asks the registry once, and swaps the model if another one is the champion. Raises nothing; what fails is
        reported in the state. Returns the champion if the registry named one."""
        try:
            version = self._ask()
            self._metrics.service.registry_read()
            self._serve(version)
        except NoModelError as error:
            # nothing is broken, and the first model should be served soon: the pause doesn't grow
            self.failures = 0
            self._metrics.service.registry_read()
            self._metrics.service.reload_failed("no_champion")
            self._current.report(str(error), logging.WARNING)
        except TabserveError as error:
            self._fail(str(error), "unavailable")
        except Exception as error:  # whatever it is, the next poll comes and the model stays
            if not self.failures:
                log.exception("following the registry failed")
            self._fail(f"following the registry failed: {error}", "unexpected")
        else:
            self.failures = 0
            return version
        return None

    def _ask(self) -> RegisteredVersion:
        try:
            return self._source.champion()
        except TabserveError as error:
            if isinstance(error, NoModelError) and self._current.value.champion is None:
                raise
            self._stopping.wait(SECOND_TRY_SECONDS)
            return self._source.champion()

    def _serve(self, version: RegisteredVersion) -> None:
        champion = self._current.value.champion
        if champion is None or champion.predictor.release.checksum != version.checksum:
            try:
                self._swap(version)
            except ReleaseError as error:
                self._fall_back(str(error))
                self._current.report(str(error), logging.ERROR)
        elif champion.registry_version != version.registry_version:
            same = replace(champion, registry_version=version.registry_version, run_id=version.run_id)
            self._current.serve(same)
        elif self._current.value.reason:
            self._current.serve(champion)

    def _swap(self, version: RegisteredVersion) -> None:
        started = time.perf_counter()
        self._current.serve(self._loader.load(version))
        self._source.remember(version)
        self._metrics.service.reloaded()
        milliseconds = round((time.perf_counter() - started) * 1000)
        log.info(
            "model live",
            extra={"model_version": version.model_version, "version": version.registry_version, "ms": milliseconds},
        )

    def _fail(self, problem: str, reason: ReloadFailure) -> None:
        self.failures += 1
        self._metrics.service.reload_failed(reason)
        self._fall_back(problem)
        self._current.report(problem, logging.ERROR)

    def stop_waiting(self, seconds: float) -> None:
        """Serves the version that was served last, if the first poll isn't over after so many seconds. Any thread may
        call it."""
        if self._current.value is LOADING:
            self._fall_back(f"the registry hasn't answered for {seconds:g} s")

    def _fall_back(self, problem: str) -> None:
        """If nothing is served, serves the last version that was served before and still verifies."""
        before = self._current.value
        for version in self._source.remembered() if before.champion is None else ():
            try:
                model = LoadedModel.load(version, self._source.cached(version))
            except ReleaseError:
                continue
            except Exception:  # whatever it is, the next version may be sound
                log.exception("a version that was served before can't be loaded")
                continue
            self._current.serve_unless_changed(before, model, problem)
            return
