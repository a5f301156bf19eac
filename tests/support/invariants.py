"""What must hold after a training failed or was killed, and after the next one."""

import queue
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tabserve.errors import TabserveError
from tabserve.model import release
from tabserve.registry import RELEASE
from tests.support.nursery import Nursery
from tests.support.workspaces import Workspace

REPAIRED = re.compile(r"\S.* was (broken and was moved to|incomplete and was rewritten)")
"""What a training says of a part of the registry that it repaired."""

KEPT_NAMES = re.compile(r"\.(lock|registry\.lock|broken|live-\w+\.(json|lock))|\d{8}_\d{6}")
"""The names that may be in `artifacts` while no training runs."""

Job = TypeVar("Job")


def check_readable(workspace: Workspace, champion_before: str | None) -> None:
    """What an API can see is whole: the champion, which is the one from before or a newer one, and every release."""
    store = workspace.store()
    try:
        champion = store.champion()
    except TabserveError:
        assert champion_before is None
    else:
        assert store.fetch(champion).model_version == champion.model_version >= (champion_before or "")
    for version in workspace.versions() if workspace.artifacts.exists() else []:
        assert release.read(workspace.artifacts / version / RELEASE).model_version == version


def check_next_training(nursery: Nursery, workspace: Workspace, outside: Workspace | None = None) -> None:
    """The next training succeeds and is champion; registry and journal are consistent, and nothing is left behind.

    `outside` is the workspace as this process sees it, if only the nursery sees it under its own path.
    """
    ended = nursery.train(workspace)
    assert ended.status == 0, ended.err
    assert all(map(REPAIRED.match, ended.err.splitlines())), ended.err
    state = nursery.state(workspace)
    assert len(state["versions"]) == len(state["listed"]) == len(set(state["versions"])), state
    assert state["champion"] == [str(max(state["listed"])), state["versions"][0]], state
    assert f"{state['versions'][0]}, version" in ended.out
    journal = state["journal"]
    assert [number for number, _, _ in journal] == list(range(1, len(journal) + 1)), state
    places = [None, *(to for _, _, to in journal)]
    assert [origin for _, origin, _ in journal] == places[:-1], state
    assert places[-1] == state["champion"][0], state
    assert {status for _, status in state["runs"]} <= {"FINISHED", "KILLED", "FAILED"}, state
    check_nothing_left(outside or workspace)
    assert not list(nursery.temporary.iterdir())


def check_nothing_left(workspace: Workspace) -> None:
    """No temporary file or folder is left in the workspace."""
    assert {path.name for path in workspace.folder.iterdir()} == {"mlruns", "artifacts"}
    assert not [path.name for path in workspace.artifacts.iterdir() if not KEPT_NAMES.fullmatch(path.name)]
    assert {str(path.relative_to(workspace.folder)) for path in workspace.folder.rglob("mlruns/**/.*")} <= {
        "mlruns/.trash"
    }


def in_parallel(nurseries: list[Nursery], jobs: Iterable[Job], do: Callable[[Nursery, Job], None]) -> None:
    """Does all the jobs, one at a time in each nursery, and then fails with every failure and the job it was in."""
    free: queue.SimpleQueue[Nursery] = queue.SimpleQueue()
    for nursery in nurseries:
        free.put(nursery)

    def failure(job: Job) -> str | None:
        nursery = free.get()
        try:
            do(nursery, job)
        except (AssertionError, TabserveError) as error:
            return f"{job}: {type(error).__name__}: {error}"
        finally:
            free.put(nursery)
        return None

    with ThreadPoolExecutor(len(nurseries)) as pool:
        failures = [text for text in pool.map(failure, jobs) if text]
    assert not failures, "\n\n".join(failures)
