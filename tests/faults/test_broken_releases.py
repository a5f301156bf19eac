"""Releases that must not be served: the live model stays, /health says why, and promote_model.py refuses them."""

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
from safetensors.numpy import load as arrays_of
from safetensors.numpy import save

from tabserve.cli import promote
from tabserve.model.release import MANIFEST, MODEL, sha256
from tabserve.registry import RELEASE
from tests.support.client import get, health, post, served_version, shows_deployment
from tests.support.damage import edit_manifest, flip_last_bit, set_scikit_learn
from tests.support.models import ROW
from tests.support.project import ROOT
from tests.support.servers import serving
from tests.support.waiting import patient, until
from tests.support.workspaces import Workspace, make_live, register

Damage = Callable[[Path], object]

MARK = Path("planted code ran")


class Planted:
    """An object whose pickle makes the file `MARK` in the working directory of the process that unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (MARK,)


def replace_model(folder: Path, content: bytes) -> None:
    """Puts another model into the release, and its checksum into the manifest."""
    (folder / MODEL).write_bytes(content)
    edit_manifest(folder, lambda manifest: manifest.update(files={MODEL: sha256(content)}))


def put(name: str, index: int, value: float) -> Damage:
    """Changes one number of the model, and the checksum with it."""

    def change(folder: Path) -> None:
        arrays = arrays_of((folder / MODEL).read_bytes())
        arrays[name][index] = value
        replace_model(folder, save(arrays))

    return change


def swap_classes(folder: Path) -> None:
    arrays = arrays_of((folder / MODEL).read_bytes())
    replace_model(folder, save(arrays | {"leaves": np.ascontiguousarray(arrays["leaves"][:, ::-1])}))


def add_code(folder: Path) -> None:
    (folder / "code").mkdir()
    (folder / "code" / "loader.py").write_text(f"import pathlib; pathlib.Path({str(MARK)!r}).touch()")


REGISTERED_SO: dict[str, tuple[Damage, str]] = {
    "another format": (
        lambda folder: edit_manifest(folder, lambda manifest: manifest.update(format=1)),
        "has format 1",
    ),
    "another scikit-learn": (
        lambda folder: set_scikit_learn(folder, "0.24.2"),
        "made with scikit-learn 0.24.2, but ",
    ),
    "no scikit-learn": (lambda folder: set_scikit_learn(folder, None), "made with scikit-learn unknown, but "),
    "other probabilities": (swap_classes, "gives other outputs for its golden rows than it must"),
    "a pickle beside": (lambda folder: (folder / "model.pkl").write_bytes(pickle.dumps(Planted())), "holds model.pkl"),
    "a pickle as model": (lambda folder: replace_model(folder, pickle.dumps(Planted())), "the model can't be read"),
    "code beside": (add_code, "holds code"),
    "a loop": (put("child", 0, 0), "has a child before its parent"),
    "a child outside": (put("child", 0, 2**31 - 1), "has a child outside"),
    "a root outside": (put("roots", 0, -1), "has a root outside"),
}
"""Releases that were trained so: they are registered with the checksum that they have."""

ALTERED: dict[str, tuple[Damage, str]] = {
    "its model cut": (lambda folder: os.truncate(folder / MODEL, 999), "was altered"),
    "a bit flipped": (lambda folder: flip_last_bit(folder / MODEL), "was altered"),
    "its manifest cut": (lambda folder: os.truncate(folder / MANIFEST, 999), "was altered"),
    "another in its place": (
        lambda folder: edit_manifest(folder, lambda manifest: manifest["metadata"].update(git_commit="another")),
        "was altered",
    ),
}
"""Releases that were altered afterwards: they are registered with the checksum that they had before."""

KINDS = REGISTERED_SO | ALTERED
"""What is wrong with a release → how to make it so, and a part of the message about it."""

NUMBERS = {kind: str(number) for number, kind in enumerate(KINDS, 2)}
"""Their registry versions; 1 is the sound one."""


def model_version(kind: str) -> str:
    return f"20260102_{NUMBERS[kind]:0>6}"


def register_each_kind(workspace: Workspace) -> None:
    """Registers a broken version of each kind beside the sound one, which is live."""
    (sound,) = workspace.versions()
    for kind, (damage, _) in KINDS.items():
        folder = workspace.artifacts / model_version(kind) / RELEASE
        shutil.copytree(workspace.artifacts / sound / RELEASE, folder)
        edit_manifest(folder, partial(dict.update, model_version=model_version(kind)))
        checksum = sha256((folder / MANIFEST).read_bytes())
        damage(folder)
        if kind in REGISTERED_SO:
            checksum = sha256((folder / MANIFEST).read_bytes())
        assert register(workspace, model_version(kind), checksum) == NUMBERS[kind]


@contextlib.contextmanager
def no_planted_code_runs(folder: Path) -> Iterator[None]:
    """Makes the folder the working directory of the block, and checks that no planted code ran in it."""
    with contextlib.chdir(folder):
        pickle.loads(pickle.dumps(Planted()))
        MARK.unlink()  # it was there, so planted code would be noticed
        yield
        assert not MARK.exists()


@pytest.fixture(scope="module")
def registered(trained_once: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a sound version, which is live, and a broken one of each kind. Must not be changed."""
    folder = tmp_path_factory.mktemp("broken") / "copy"
    shutil.copytree(trained_once.folder, folder)
    register_each_kind(Workspace(folder))
    return Workspace(folder)


@pytest.fixture
def broken(registered: Workspace, tmp_path: Path) -> Iterator[Workspace]:
    """A copy of that workspace, which is the working directory."""
    shutil.copytree(registered.folder, tmp_path / "copy")
    with no_planted_code_runs(tmp_path / "copy"):
        yield Workspace(tmp_path / "copy")


def refused(url: str) -> int:
    """How many releases the API has refused."""
    counters = get(f"{url}/metrics/prometheus").text
    (count,) = re.findall(r'^model_reloads_total\{result="refused"\} (\d+)', counters, re.MULTILINE)
    return int(count)


def check_refusal(url: str, kind: str, sound: str) -> None:
    """The sound version answers, and /health names the champion that is refused, and why."""
    state = health(url)
    assert (state["status"], state["model_version"]) == ("degraded", sound)
    for part in (model_version(kind), KINDS[kind][1], f"{sound} is served meanwhile"):
        assert part in state["reason"]
    reply = post(f"{url}/predict", json=ROW)
    assert (reply.status_code, reply.json()["model_version"]) == (200, sound)


@pytest.mark.timeout(patient(1800))
def test_running_server_keeps_its_model_when_a_champion_is_broken(anywhere: Workspace) -> None:
    """Whatever is wrong with a new champion, the model from before goes on answering, /health is degraded and says why,
    the refusal is counted, and the release is tried again after growing pauses; a sound champion is served at once. On
    a folder, a database and a server."""
    sound = anywhere.train("--n-estimators", "10")
    register_each_kind(anywhere)
    with (
        no_planted_code_runs(anywhere.folder),
        serving(anywhere, TABSERVE_FOLLOW_SECONDS="0.1") as (url, _),
    ):
        until(lambda: served_version(url) == sound)

        def check(kind: str) -> None:
            before = refused(url)
            make_live(anywhere, NUMBERS[kind])
            until(lambda: model_version(kind) in (health(url)["reason"] or ""))
            check_refusal(url, kind, sound)
            assert refused(url) > before
            until(lambda: shows_deployment(url, NUMBERS[kind]))

        for kind in KINDS:
            check(kind)
        start, count = time.monotonic(), refused(url)
        until(lambda: refused(url) >= count + 4)
        # in between are three whole pauses, of at least 0.2, 0.4 and 0.8 s less a quarter; without growth it were 0.3 s
        assert time.monotonic() - start > 1
        make_live(anywhere, "1")
        until(lambda: health(url)["status"] == "healthy")


@pytest.mark.parametrize("kind", KINDS)
def test_started_server_serves_the_last_model_when_the_champion_is_broken(broken: Workspace, kind: str) -> None:
    """A server that is started with a broken champion serves the model that was live before, and /health says why."""
    make_live(broken, NUMBERS[kind])
    with serving(broken) as (url, _):
        # before that, a slow machine may say that the registry hasn't answered
        until(lambda: model_version(kind) in (health(url)["reason"] or ""))
        check_refusal(url, kind, broken.versions()[-1])
        assert refused(url) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_broken_release_is_not_promoted(
    broken: Workspace, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """promote_model.py refuses a broken version with status 1 and one line that says why, and the champion stays."""
    for name, value in broken.environment.items():
        monkeypatch.setenv(name, value)
    assert promote.main([NUMBERS[kind], "--why", "hope"], root=ROOT, program="promote_model.py") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert model_version(kind) in line
    assert KINDS[kind][1] in line
    assert broken.store().champion().registry_version == "1"
