"""The service: holds what is served, follows the registry, and hands records to observers."""

import logging
import threading
from collections.abc import Callable, Sequence

from tabserve.inference import Observer, Prediction, Record
from tabserve.model import Deployment
from tabserve.monitoring import Metrics
from tabserve.serving.challenger import ChallengerFollower
from tabserve.serving.champion import ChampionFollower
from tabserve.serving.deployments import DeploymentReader
from tabserve.serving.loader import Source
from tabserve.serving.state import CurrentState, LoadedModel, State
from tabserve.serving.threads import shorten_gil_switch_interval

log = logging.getLogger("tabserve.serving")

FIRST_ANSWER_SECONDS = 3.0
"""How long a start waits for the registry's champion before it serves the version that was served last."""


class Service:
    """Serves the registry's champion. Between `start` and `stop` it polls the registry, in threads of its own."""

    def __init__(
        self,
        source: Source,
        metrics: Metrics,
        observers: Sequence[Observer],
        poll_seconds: float,
        challenger_share: float = 0.0,
    ) -> None:
        """`poll_seconds`: pause between two polls. `challenger_share`: the share of the callers that a challenger
        answers, from 0 to 1."""
        self._metrics = metrics
        self._observers = self._all_observers = tuple(observers)  # all: the shadow, too, while there is one
        self._stopping = threading.Event()
        self._current = CurrentState(metrics, challenger_share)
        self._champion = ChampionFollower(source, metrics, self._current, poll_seconds, self._stopping)
        self._challenger = ChallengerFollower(source, metrics, poll_seconds)
        self._reader = DeploymentReader(source, self._stopping)
        # two threads, so that a challenger that takes long to load delays no champion
        self._threads = [
            self._polling("champion", self.poll, self._champion.pause),
            self._polling("challenger", self.poll_challenger, lambda: poll_seconds),
        ]
        self._is_decided = threading.Event()
        self._first_answer = threading.Timer(FIRST_ANSWER_SECONDS, self._stop_waiting)
        self._first_answer.daemon = True

    # -- following the registry

    def start(self) -> None:
        shorten_gil_switch_interval()  # so that polling and loading delay no request
        for thread in self._threads:
            thread.start()
        self._first_answer.start()

    def wait_until_decided(self) -> None:
        """Waits, after `start`, until the first poll is over: the champion is loaded, or the state says why there is
        none. If that takes `FIRST_ANSWER_SECONDS`, until the version that was served last is loaded, or there is
        none."""
        self._is_decided.wait()

    def _stop_waiting(self) -> None:
        try:
            self._champion.stop_waiting(FIRST_ANSWER_SECONDS)
        finally:
            self._is_decided.set()

    def stop(self) -> None:
        """Ends the polling. A poll that hangs in the network is left behind: its thread is a daemon."""
        self._stopping.set()
        self._first_answer.cancel()
        self._is_decided.set()
        for thread in self._threads:
            thread.join(timeout=2)
        self._challenger.close()

    def _polling(self, name: str, poll: Callable[[], None], pause: Callable[[], float]) -> threading.Thread:
        def run() -> None:
            while not self._stopping.is_set():
                poll()
                self._stopping.wait(pause())

        return threading.Thread(target=run, name=f"poll-{name}", daemon=True)

    def poll(self) -> None:
        """Asks the registry once for the champion, and for the journal if that must have grown. Raises nothing."""
        version = self._champion.poll()
        self._is_decided.set()
        if version:
            challenger = self._current.value.challenger
            self._reader.update(version, challenger.version if challenger else None)

    def poll_challenger(self) -> None:
        """Asks the registry once for the challenger. While the registry can't be asked for the champion, nothing
        changes. Raises nothing."""
        model = self._current.value.champion
        if model is None or self._champion.failures:
            return
        self._challenger.poll(model)
        if self._current.set_challenger(model, self._challenger.challenger):
            shadow = self._challenger.shadow
            self._all_observers = (*self._observers, shadow) if shadow else self._observers

    def drop_challenger(self, model: LoadedModel, error: Exception) -> None:
        """A challenger failed to answer a caller: it answers none any more, until another version is marked."""
        reason = f"it failed to answer: {error!r}"
        self._challenger.drop(model, reason)
        self._current.drop_challenger(model, reason)

    # -- answering

    def state(self) -> State:
        """What is served, and how the service is. A request takes it once, so no reply mixes two models."""
        return self._current.value

    def deployments(self) -> Sequence[Deployment]:
        """The journal, the oldest deployment first; last those by hand that nobody has recorded yet."""
        return self._reader.deployments

    def record(self, record: Record) -> None:
        """Hands a record to every observer. One that fails is counted and logged, and raises nothing: the caller still
        gets the prediction."""
        for observer in self._all_observers:
            try:
                observer.observe(record) if isinstance(record, Prediction) else observer.observe_batch(record)
            except Exception:
                log.exception("an observer failed", extra={"observer": type(observer).__name__})
                self._metrics.observer_error()
