"""A training that is killed at any file operation and at any moment keeps the champion, and the next one cleans up.

`tests.support.operations` defines a file operation. A training writes some files one after the other, and reads them
only when all are there: a run's parameters, metrics, tags and artifacts, and MLflow's temporary files. Of these the
first and the last are tried, while they are open, because a kill between them leaves the same, except for the number
of files. So there are 180 kills of 3,600 possible ones, each followed by a whole training; `--every-operation` tries
them all. Databases and servers have transactions, so there a training is killed after some of its steps.
"""

import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.support.commands import count_steps
from tests.support.invariants import KEPT_NAMES, check_next_training, check_readable, in_parallel
from tests.support.nursery import Nursery
from tests.support.operations import Point, one_per_kind
from tests.support.waiting import patient
from tests.support.workspaces import Workspace, runs


@pytest.mark.timeout(patient(2400))
def test_kill_at_any_file_operation_keeps_the_champion(
    nurseries: list[Nursery], tmp_path: Path, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    """At whichever file operation a training is killed, the first training, a later one, or one that repairs what
    killed ones left: the champion stays, what an API can see is whole, and the next training works, is champion, and
    leaves nothing of the killed ones."""
    jobs: list[tuple[Path, Point, str | None, str]] = []
    known: set[str] = set()
    every = pytestconfig.getoption("--every-operation")

    def add_jobs(start: Path, live: str | None, task: str = "train") -> list[Point]:
        """Adds a kill at each point of a training that starts from this folder, without the kinds that are known."""
        points = nurseries[0].points(Workspace(shutil.copytree(start, tmp_path / f"{task} from {start.name}")), task)
        chosen = points if every else [point for point in one_per_kind(points) if point.kind not in known]
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
        check_readable(workspace, before)
        check_next_training(nursery, workspace)
        shutil.rmtree(workspace.folder)
        done.append(point)
        if every and len(done) % 100 == 0:
            with capsys.disabled():
                print(f"\n{len(done)} of {len(jobs)} kills", end="", flush=True)

    done: list[Point] = []
    in_parallel(nurseries, jobs, kill)


@pytest.mark.timeout(patient(1200))
def test_kill_at_a_random_moment_keeps_the_champion(nurseries: list[Nursery], tmp_path: Path) -> None:
    """Trainings with a search are killed at a hundred random moments, ten after each other in each of ten folders. Each
    leaves the champion, or a whole new one, and the training after the ten works, is champion, and leaves nothing of
    them."""

    def kill(nursery: Nursery, seed: int) -> None:
        workspace = Workspace(tmp_path / str(seed))
        workspace.folder.mkdir()
        started = time.monotonic()
        check_next_training(nursery, workspace)
        duration = time.monotonic() - started
        moments = random.Random(seed)
        for _ in range(10):
            live = workspace.store().champion().model_version
            ended = nursery.train_until(workspace, moments.uniform(0, 1.5 * duration))  # a search takes longer
            assert ended.status in (0, -signal.SIGKILL), ended.err
            check_readable(workspace, live)
        check_next_training(nursery, workspace)

    in_parallel(nurseries, range(10), kill)


@pytest.mark.parametrize("anywhere", ["database", "server"], indirect=True)
def test_kill_after_a_step_publishes_all_or_nothing(anywhere: Workspace) -> None:
    """On a database and on a server, a training that is killed after a step publishes nothing, and after its last step
    everything. The next training works, is champion, and marks the runs of the killed ones as KILLED. A running
    training of another machine, whose run has the name of a killed one, is left alone."""
    done = anywhere.run("train_model.py", "--n-estimators", "5")
    assert done.returncode == 0, done.stderr
    last = count_steps(done.stdout)
    assert last > 4
    live = anywhere.store().champion().model_version
    for steps in (last, 2, last - 2, last - 1):
        published = anywhere.versions()
        killed = anywhere.train_with_signal(signal.SIGKILL, steps)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        check_readable(anywhere, live)
        assert len(anywhere.versions()) == len(published) + (steps == last)
        live = anywhere.store().champion().model_version
    (running,) = [run for run in runs(anywhere) if run.info.status == "RUNNING"]
    tags = {"draft": "another"}
    client = anywhere.store().connect()
    elsewhere = client.create_run(running.info.experiment_id, run_name=running.info.run_name, tags=tags)
    newest = anywhere.train("--n-estimators", "5")
    assert anywhere.store().champion().model_version == newest
    states = {run.info.run_id: run.info.status for run in runs(anywhere)}
    assert [run_id for run_id, status in states.items() if status == "RUNNING"] == [elsewhere.info.run_id]
    assert list(states.values()).count("KILLED") == 3
    assert not [path.name for path in anywhere.artifacts.iterdir() if not KEPT_NAMES.fullmatch(path.name)]
