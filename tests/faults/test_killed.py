"""A training that is killed, at any operation and at any moment, harms nothing, and the next one leaves nothing of it.

In a file store every operation on a file is a moment of its own; `tests.faults` says what one is. Of files that a
training writes one after the other and reads only when all are there (a run's parameters, metrics, tags and artifacts,
and MLflow's temporary files) the first and the last are tried: a kill between them leaves what these two leave, but for
the number of files. That makes 200 kills of the 3,600 that are possible, each followed by a whole training; with
`--every-operation` it is all of them. Databases and servers have transactions; there a training is killed after some of
its steps.
"""

import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.support.faults import Nursery, Point, one_of_a_kind
from tests.support.kills import STAYS, check_next, check_now, two_at_a_time
from tests.support.workspaces import STEPS, Workspace, runs


@pytest.mark.timeout(1200)
def test_a_kill_at_any_operation_harms_nothing(
    nurseries: list[Nursery], tmp_path: Path, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever among its file operations a training is killed, be it the first one, a later one, or one that repairs what
    killed ones left: what was live is live, what an API can see is whole, and the next training works, is champion, and
    leaves nothing of the dead ones."""

    jobs: list[tuple[Path, Point, str | None, str]] = []
    known: set[str] = set()
    every = pytestconfig.getoption("--every-operation")

    def add_jobs(start: Path, live: str | None, task: str = "train") -> list[Point]:
        """Where a training that starts from this folder can be killed, but for the kinds that are known."""
        points = nurseries[0].points(Workspace(shutil.copytree(start, tmp_path / f"{task} from {start.name}")), task)
        chosen = points if every else [point for point in one_of_a_kind(points) if point.kind not in known]
        jobs.extend((start, point, live, task) for point in chosen)
        known.update(point.kind for point in points)
        return points

    empty, trained = tmp_path / "empty", Workspace(tmp_path / "trained")
    empty.mkdir()
    trained.folder.mkdir()
    assert nurseries[0].train(trained).status == 0
    live = trained.store().champion().model_version
    later = add_jobs(trained.folder, live)
    add_jobs(empty, None)
    for file in ("/metrics/", "/tags/release_sha256", "/meta.yaml again"):
        torn = Workspace(shutil.copytree(trained.folder, tmp_path / f"torn {len(jobs)}"))
        last = [point for point in later if point.opened and file in point.operation][-1]
        assert nurseries[0].train(torn, "kill", last).status == -signal.SIGKILL
        add_jobs(torn.folder, live)
    add_jobs(trained.folder, live, "search")

    def kill(nursery: Nursery, job: tuple[Path, Point, str | None, str]) -> None:
        start, point, before, task = job
        workspace = Workspace(tmp_path / f"{task} from {start.name} {point.number} {point.opened}")
        shutil.copytree(start, workspace.folder)
        ended = nursery.train(workspace, "kill", point, task)
        assert ended.status == -signal.SIGKILL, ended.err
        check_now(workspace, before)
        check_next(nursery, workspace)
        shutil.rmtree(workspace.folder)
        done.append(point)
        if every and len(done) % 100 == 0:
            with capsys.disabled():
                print(f"\n{len(done)} of {len(jobs)} kills", end="", flush=True)

    done: list[Point] = []
    two_at_a_time(nurseries, jobs, kill)


@pytest.mark.timeout(600)
def test_a_kill_at_any_moment_harms_nothing(nurseries: list[Nursery], tmp_path: Path) -> None:
    """Killed at a hundred random moments, ten one after the other in each of ten folders, trainings with a search leave
    what was live, or a new one, and nothing half; the one after the ten works, is champion, and leaves nothing of
    them."""

    def kill(nursery: Nursery, seed: int) -> None:
        workspace = Workspace(tmp_path / str(seed))
        workspace.folder.mkdir()
        started = time.monotonic()
        check_next(nursery, workspace)
        duration = time.monotonic() - started
        moments = random.Random(seed)
        for _ in range(10):
            live = workspace.store().champion().model_version
            ended = nursery.train_until(workspace, moments.uniform(0, 1.5 * duration))  # a search takes longer
            assert ended.status in (0, -signal.SIGKILL), ended.err
            check_now(workspace, live)
        check_next(nursery, workspace)

    two_at_a_time(nurseries, range(10), kill)


def kill_after(workspace: Workspace, lines: int) -> None:
    with workspace.start("train_model.py", "--n-estimators", "5") as process:
        assert process.stdout is not None
        for _ in range(lines):
            assert process.stdout.readline()
        process.kill()


@pytest.mark.parametrize("anywhere", ["database", "server"], indirect=True)
def test_a_kill_after_a_step_harms_nothing(anywhere: Workspace) -> None:
    """On a database and on a server, too: a training killed after a step publishes nothing, and after the last
    one all; the next one works, is champion, and marks the runs of the dead as KILLED. A living one elsewhere, which
    happens to have a dead one's name, is left alone."""
    live = anywhere.train("--n-estimators", "5")
    for lines in (STEPS, 2, STEPS - 2, STEPS - 1):
        published = anywhere.versions()
        kill_after(anywhere, lines)
        check_now(anywhere, live)
        assert len(anywhere.versions()) == len(published) + (lines == STEPS)
        live = anywhere.store().champion().model_version
    (dead,) = [run for run in runs(anywhere) if run.info.status == "RUNNING"]
    tags = {"draft": "another"}
    client = anywhere.store().connect()
    living = client.create_run(dead.info.experiment_id, run_name=dead.info.run_name, tags=tags)
    last = anywhere.train("--n-estimators", "5")
    assert anywhere.store().champion().model_version == last
    states = {run.info.run_id: run.info.status for run in runs(anywhere)}
    assert [run_id for run_id, status in states.items() if status == "RUNNING"] == [living.info.run_id]
    assert list(states.values()).count("KILLED") == 3
    assert not [path.name for path in anywhere.artifacts.iterdir() if not STAYS.fullmatch(path.name)]
