"""What must hold after a training was killed."""

import queue
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tabserve.errors import TabserveError
from tabserve.model import release
from tabserve.registry import RELEASE
from tests.support.faults import Nursery
from tests.support.workspaces import Workspace

REPAIRED = re.compile(r"\S.* was (broken and was moved to|incomplete and was rewritten)")


STAYS = re.compile(r"\.(lock|registry\.lock|broken|live-\w+\.(json|lock))|\d{8}_\d{6}")
"""What may be in `artifacts` when no training runs."""


Job = TypeVar("Job")


def check_now(workspace: Workspace, before: str | None) -> None:
    """What an API can see is whole: the champion, which is that of before or a new one, and every folder."""
    store = workspace.store()
    try:
        champion = store.champion()
    except TabserveError:
        assert before is None
    else:
        assert store.fetch(champion).model_version == champion.model_version >= (before or "")
    for version in workspace.versions() if workspace.artifacts.exists() else []:
        assert release.read(workspace.artifacts / version / RELEASE).model_version == version


def check_next(nursery: Nursery, workspace: Workspace, outside: Workspace | None = None) -> None:
    """The next training works and is champion; everything is in order and nothing is left of those before. `outside` is
    the workspace as this process finds it, if the nursery alone has it in that place."""
    ended = nursery.train(workspace)
    assert ended.status == 0, ended.err
    assert all(map(REPAIRED.match, ended.err.splitlines())), ended.err
    seen = nursery.look(workspace)
    assert len(seen["versions"]) == len(seen["listed"]) == len(set(seen["versions"])), seen
    assert seen["champion"] == [str(max(seen["listed"])), seen["versions"][0]], seen
    assert f"{seen['versions'][0]}, version" in ended.out
    assert [number for number, _, _ in seen["moves"]] == list(range(1, len(seen["moves"]) + 1)), seen
    places = [None, *(to for _, _, to in seen["moves"])]
    assert [origin for _, origin, _ in seen["moves"]] == places[:-1], seen
    assert places[-1] == seen["champion"][0], seen
    assert {status for _, status in seen["runs"]} <= {"FINISHED", "KILLED", "FAILED"}, seen
    check_left(outside or workspace)
    assert not list(nursery.temporary.iterdir())


def check_left(workspace: Workspace) -> None:
    """Nothing lies about."""
    assert {path.name for path in workspace.folder.iterdir()} == {"mlruns", "artifacts"}
    assert not [path.name for path in workspace.artifacts.iterdir() if not STAYS.fullmatch(path.name)]
    assert {str(path.relative_to(workspace.folder)) for path in workspace.folder.rglob("mlruns/**/.*")} <= {
        "mlruns/.trash"
    }


def two_at_a_time(nurseries: list[Nursery], jobs: Iterable[Job], do: Callable[[Nursery, Job], None]) -> None:
    """Does all the jobs, each with a nursery of its own, and then fails with what went wrong, and in which job."""
    free: queue.SimpleQueue[Nursery] = queue.SimpleQueue()
    for nursery in nurseries:
        free.put(nursery)

    def trouble(job: Job) -> str | None:
        nursery = free.get()
        try:
            do(nursery, job)
        except (AssertionError, TabserveError) as error:
            return f"{job}: {type(error).__name__}: {error}"
        finally:
            free.put(nursery)
        return None

    with ThreadPoolExecutor(len(nurseries)) as pool:
        troubles = [found for found in pool.map(trouble, jobs) if found]
    assert not troubles, "\n\n".join(troubles)
