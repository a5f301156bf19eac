"""Releases that must not be served: what was live goes on, health says why, and promote_model.py makes none of them
live."""

import contextlib
import os
import pickle
import re
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from safetensors.numpy import load as arrays_of
from safetensors.numpy import save

from tabserve.cli import promote
from tabserve.model.release import MANIFEST, MODEL, sha256
from tabserve.registry import RELEASE
from tests.support.damage import edit, flip_last_bit, made_with
from tests.support.models import ROW
from tests.support.project import ROOT
from tests.support.servers import noticed, serving, version
from tests.support.waiting import until
from tests.support.workspaces import Workspace, make_live, register

Damage = Callable[[Path], object]

RAN = Path("ran")


class Planted:
    """A pickle of it makes the file `RAN` in the working directory of whoever unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (RAN,)


def other_model(folder: Path, content: bytes) -> None:
    """Puts another model in, with its checksum."""
    (folder / MODEL).write_bytes(content)
    edit(folder, lambda manifest: manifest.update(files={MODEL: sha256(content)}))


def put(name: str, at: int, value: float) -> Damage:
    """Changes one number of the model, with its checksum."""

    def change(folder: Path) -> None:
        arrays = arrays_of((folder / MODEL).read_bytes())
        arrays[name][at] = value
        other_model(folder, save(arrays))

    return change


def swap_classes(folder: Path) -> None:
    arrays = arrays_of((folder / MODEL).read_bytes())
    other_model(folder, save(arrays | {"leaves": np.ascontiguousarray(arrays["leaves"][:, ::-1])}))


def code_beside(folder: Path) -> None:
    (folder / "code").mkdir()
    (folder / "code" / "loader.py").write_text("import pathlib; pathlib.Path('ran').touch()")


WITH_ITS_CHECKSUM: dict[str, tuple[Damage, str]] = {
    "another format": (lambda folder: edit(folder, lambda manifest: manifest.update(format=1)), "has format 1"),
    "another scikit-learn": (lambda folder: made_with(folder, "0.24.2"), "made with scikit-learn 0.24.2; here is "),
    "no scikit-learn": (lambda folder: made_with(folder, None), "made with scikit-learn unknown; here is "),
    "other probabilities": (swap_classes, "gives other probabilities than its golden rows must have"),
    "a pickle beside": (lambda folder: (folder / "model.pkl").write_bytes(pickle.dumps(Planted())), "holds model.pkl"),
    "a pickle as model": (lambda folder: other_model(folder, pickle.dumps(Planted())), "the model can't be read"),
    "code beside": (code_beside, "holds code"),
    "a loop": (put("child", 0, 0), "has a child before its parent"),
    "a child outside": (put("child", 0, 2**31 - 1), "has a child outside"),
    "a root outside": (put("roots", 0, -1), "has a root outside"),
}
"""Releases that were made so: they are registered as they are."""

ALTERED: dict[str, tuple[Damage, str]] = {
    "its model cut": (lambda folder: os.truncate(folder / MODEL, 999), "was altered"),
    "a bit flipped": (lambda folder: flip_last_bit(folder / MODEL), "was altered"),
    "its manifest cut": (lambda folder: os.truncate(folder / MANIFEST, 999), "was altered"),
    "another in its place": (
        lambda folder: edit(folder, lambda manifest: manifest["metadata"].update(git_commit="another")),
        "was altered",
    ),
}
"""Releases that became so afterwards: they were registered with the checksum that they had."""

KINDS = WITH_ITS_CHECKSUM | ALTERED

NUMBERS = {kind: str(number) for number, kind in enumerate(KINDS, 2)}
"""In the registry; 1 is the good one."""


def model_version(kind: str) -> str:
    return f"20260102_{NUMBERS[kind]:0>6}"


def register_each_kind(workspace: Workspace) -> None:
    """Beside the good version that is live, one of each kind."""
    (good,) = workspace.versions()
    for kind, (damage, _) in KINDS.items():
        made = workspace.artifacts / model_version(kind) / RELEASE
        shutil.copytree(workspace.artifacts / good / RELEASE, made)
        edit(made, partial(dict.update, model_version=model_version(kind)))
        checksum = sha256((made / MANIFEST).read_bytes())
        damage(made)
        if kind in WITH_ITS_CHECKSUM:
            checksum = sha256((made / MANIFEST).read_bytes())
        assert register(workspace, model_version(kind), checksum) == NUMBERS[kind]


@contextlib.contextmanager
def nothing_planted_runs(folder: Path) -> Iterator[None]:
    """Goes into the folder for as long as the block takes, in which nothing of what is planted there may run."""
    with contextlib.chdir(folder):
        pickle.loads(pickle.dumps(Planted()))
        RAN.unlink()  # so it would show
        yield
        assert not RAN.exists()


@pytest.fixture(scope="module")
def registered(trained_once: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A good version, which is live, and one of each kind. Not to be changed."""
    folder = tmp_path_factory.mktemp("broken") / "copy"
    shutil.copytree(trained_once.folder, folder)
    register_each_kind(Workspace(folder))
    return Workspace(folder)


@pytest.fixture
def broken(registered: Workspace, tmp_path: Path) -> Iterator[Workspace]:
    """A copy of that workspace, with the working directory in it."""
    shutil.copytree(registered.folder, tmp_path / "copy")
    with nothing_planted_runs(tmp_path / "copy"):
        yield Workspace(tmp_path / "copy")


def refused(url: str) -> int:
    counters = requests.get(f"{url}/metrics/prometheus", timeout=10).text
    (count,) = re.findall(r'^model_reloads_total\{result="refused"\} (\d+)', counters, re.MULTILINE)
    return int(count)


def health(url: str) -> dict[str, str]:
    found: dict[str, str] = requests.get(f"{url}/health", timeout=10).json()
    return found


def check_refusal(url: str, kind: str, good: str) -> None:
    """The good version answers; health says that it should be another, which, and why it isn't."""
    found = health(url)
    assert (found["status"], found["model_version"]) == ("degraded", good)
    for said in (model_version(kind), KINDS[kind][1], f"{good} is served meanwhile"):
        assert said in found["reason"]
    reply = requests.post(f"{url}/predict", json=ROW, timeout=10)
    assert (reply.status_code, reply.json()["model_version"]) == (200, good)


def test_a_running_server_keeps_what_it_has(anywhere: Workspace) -> None:
    """On a folder, a database and a server: whatever is wrong with a new champion, what was live goes on answering,
    health is degraded and says why, the refusal is counted, and it is tried again after growing pauses. A sound
    champion is served at once."""
    good = anywhere.train("--n-estimators", "10")
    register_each_kind(anywhere)
    with (
        nothing_planted_runs(anywhere.folder),
        serving(anywhere, TABSERVE_FOLLOW_SECONDS="0.1") as (url, _),
    ):
        until(lambda: version(url) == good)

        def check(kind: str) -> None:
            before = refused(url)
            make_live(anywhere, NUMBERS[kind])
            until(lambda: model_version(kind) in (health(url)["reason"] or ""))
            check_refusal(url, kind, good)
            assert refused(url) > before
            until(lambda: noticed(url, NUMBERS[kind]))

        for kind in KINDS:
            check(kind)
        since, so_far = time.monotonic(), refused(url)
        until(lambda: refused(url) >= so_far + 4)
        # pauses of at least 0.2, 0.4 and 0.8 s, less a quarter, are whole in it; at full speed it would be 0.4 s
        assert time.monotonic() - since > 1
        make_live(anywhere, "1")
        until(lambda: health(url)["status"] == "healthy")


@pytest.mark.parametrize("kind", KINDS)
def test_a_start_serves_what_was_live_before(broken: Workspace, kind: str) -> None:
    """Started with such a champion, a server serves what was live before, and says that it does, and why."""
    make_live(broken, NUMBERS[kind])
    with serving(broken) as (url, _):
        # on a slow machine it may lose patience with the registry first
        until(lambda: model_version(kind) in (health(url)["reason"] or ""))
        check_refusal(url, kind, broken.versions()[-1])
        assert refused(url) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_none_is_made_live(
    broken: Workspace, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """promote_model.py refuses such a version in one line that says why, with status 1, and what is live stays."""
    for name, value in broken.environment.items():
        monkeypatch.setenv(name, value)
    assert promote.main([NUMBERS[kind], "--why", "hope"], root=ROOT, program="promote_model.py") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert model_version(kind) in line
    assert KINDS[kind][1] in line
    assert broken.store().champion().registry_version == "1"
