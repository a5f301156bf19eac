"""promote_model.py: what is live is seen, moved, undone and written down, and nothing broken becomes live."""

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from filelock import FileLock

import promote_model
from tabserve.cli import addresses
from tabserve.errors import TrackingError
from tabserve.model.predictor import Predictor
from tabserve.model.versions import Deployment
from tabserve.monitoring import comparison
from tabserve.registry import journal, registry
from tabserve.registry.registry import Store
from tests.support.project import PYTHON
from tests.support.servers import noticed, serving, tracking_server, version
from tests.support.waiting import until
from tests.support.workspaces import Workspace


@pytest.fixture(scope="module")
def trained_thrice(trained_once: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Versions 1 to 3, of which 3 is live. Not to be changed."""
    folder = tmp_path_factory.mktemp("thrice") / "copy"
    shutil.copytree(trained_once.folder, folder)
    workspace = Workspace(folder)
    for trees in ("11", "12"):
        workspace.train("--n-estimators", trees)
    return workspace


@pytest.fixture(scope="module")
def on_a_database(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("database")
    return trained_there(Workspace(folder, f"sqlite:///{folder}/mlflow.db"))


@pytest.fixture(scope="module")
def on_a_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with tracking_server(tmp_path_factory.mktemp("elsewhere")) as uri:
        yield trained_there(Workspace(tmp_path_factory.mktemp("here"), uri))


def trained_there(workspace: Workspace) -> Workspace:
    for trees in ("10", "11", "12"):
        workspace.train("--n-estimators", trees)
    return workspace


@pytest.fixture
def three(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    """Versions 1 to 3, of which 3 is live, to be changed at will: a copy of a folder; with `ANYWHERE` also a model of
    its own on a database and a server, of the same three runs."""
    kind = getattr(request, "param", "folder")
    if kind == "folder":
        shutil.copytree(request.getfixturevalue("trained_thrice").folder, tmp_path / "three")
        return Workspace(tmp_path / "three")
    trained: Workspace = request.getfixturevalue(f"on_a_{kind}")
    three = Workspace(tmp_path / "three", trained.uri, f"model-{secrets.token_hex(4)}")
    for folder in trained.versions():
        shutil.copytree(trained.artifacts / folder, three.artifacts / folder)
    client, store = trained.store().connect(), three.store()
    client.create_registered_model(three.model_name)
    for number in ("1", "2", "3"):
        made = client.get_model_version(trained.model_name, number)
        tags = {tag: made.tags[tag] for tag in (registry.VERSION_TAG, registry.CHECKSUM_TAG)}
        model_id = made.source.removeprefix("models:/")
        client.create_model_version(three.model_name, made.source, made.run_id, tags=tags, model_id=model_id)
        store.move("champion", store.versions()[0].version, "train_model.py --promote always")
    return three


ANYWHERE = pytest.mark.parametrize("three", ["folder", "database", "server"], indirect=True)
"""For tests of what must be the same on a folder, a database and a tracking server."""

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(three: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs promote_model.py with these arguments: the status, and what it prints."""
    for name, value in three.environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        try:
            code = promote_model.main(arguments)
        except SystemExit as error:
            code = int(str(error.code))
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


def live(workspace: Workspace) -> str:
    return workspace.store().champion().registry_version


@ANYWHERE
def test_the_list_shows_every_version_and_which_is_live(three: Workspace, command: Command) -> None:
    """Without arguments every version is a line, the newest first, with its metrics, and the live one says so."""
    code, shown = command()
    head, *lines = shown.splitlines()
    assert code == 0
    assert head.split()[:2] == ["version", "model"]
    assert [line.split()[:2] for line in lines] == [
        [str(3 - at), name] for at, name in enumerate(three.versions()[::-1])
    ]
    assert ["champion (live)" in line for line in lines] == [True, False, False]
    assert all(re.search(r" 0\.\d{4} +0\.\d{4} +0\.\d{4} ", line) for line in lines)
    assert all("train_model.py --promote always" in line for line in lines)


def test_a_long_list_is_cut(three: Workspace, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many versions the newest are shown, how many there are besides is said, and --all shows them too."""
    monkeypatch.setattr(promote_model, "SHOWN", 2)
    shown = command()[1].splitlines()
    assert [line.split()[0] for line in shown] == ["version", "3", "2", "older,"]
    assert shown[-1] == "older, left out: 1; `python promote_model.py --all` lists them"
    assert len(command("--all")[1].splitlines()) == 1 + len(three.versions())


@ANYWHERE
def test_a_version_becomes_live_with_its_reason(three: Workspace, command: Command) -> None:
    """A version, by its number or its model version, becomes live; a running server follows, and its /model/info, the
    journal and the version's tag in MLflow say when, who, in place of which, and why."""
    with serving(three) as (url, _):
        until(lambda: version(url) == three.versions()[2])
        code, shown = command("1", "--why", "passed\nreview")
        assert (code, live(three)) == (0, "1")
        assert "in place of 3: passed review" in shown
        until(lambda: version(url) == three.versions()[0])
        until(lambda: noticed(url, "1"))
        newest, before, *_ = requests.get(f"{url}/model/info", timeout=10).json()["journal"]
        assert (newest["from"], newest["why"], newest["who"]) == ("3", "passed review", journal.whoami())
        assert before["why"] == "train_model.py --promote always"
    tags = three.store().connect().get_model_version(three.model_name, "1").tags
    assert tags["last_champion"] == f"{newest['when']} by {journal.whoami()}: passed review"
    assert command(three.versions()[1], "--why", "by its name")[0] == 0
    assert live(three) == "2"
    code, shown = command("--journal")
    assert [line.split()[:1] for line in shown.splitlines()[1:]] == [["5"], ["4"], ["3"], ["2"], ["1"]]
    assert "by its name" in shown.splitlines()[1]


@ANYWHERE
def test_rollbacks_go_back_one_after_the_other(three: Workspace, command: Command) -> None:
    """A rollback makes the one live that was before, a second one goes further back, and the first version stays."""
    assert command("--rollback", "--why", "errors at night")[0] == 0
    assert live(three) == "2"
    assert command("--rollback")[0] == 0
    assert live(three) == "1"
    code, shown = command("--rollback")
    assert (code, live(three)) == (1, "1")
    assert re.fullmatch(r"promote_model\.py: there is nothing to go back to: .*\n", shown)
    assert "errors at night" in command("--journal")[1]


@ANYWHERE
def test_another_model_is_another_memory(three: Workspace) -> None:
    """What was live is remembered for this model, this alias and this store, and told to no other."""
    store = three.store()
    assert [version.registry_version for version in store.remembered()] == ["3", "2", "1"]
    store.model_name = "other"
    assert store.remembered() == []


def test_a_store_that_is_gone_is_not_an_empty_one(three: Workspace) -> None:
    """If a model was live and the store's folder isn't there any more, it is away; it isn't said that nothing has been
    trained."""
    (three.folder / "mlruns").rename(three.folder / "elsewhere")
    with pytest.raises(TrackingError, match="isn't there any more"):
        three.store().champion()


@ANYWHERE
def test_a_candidate_is_marked(three: Workspace, command: Command) -> None:
    """The challenger is marked and unmarked, written down, and what is live stays."""
    assert command("--challenger", "1")[0] == 0
    assert "challenger" in command()[1].splitlines()[3]
    assert command("--no-challenger")[0] == 0
    assert "challenger" not in command()[1]
    assert live(three) == "3"
    assert [line.split()[3] for line in command("--journal")[1].splitlines()[1:3]] == ["challenger", "challenger"]


@ANYWHERE
def test_what_is_live_already_is_not_moved(three: Workspace, command: Command) -> None:
    """To make the live version live is no move and no entry."""
    before = three.store().journal()
    code, shown = command("3", "--why", "again")
    assert (code, "is live already" in shown) == (0, True)
    assert three.store().journal() == before


def test_nothing_broken_becomes_live(three: Workspace, command: Command) -> None:
    """A version whose release is damaged, in both places where it is kept, is refused, and what is live stays."""
    for manifest in three.folder.rglob("manifest.json"):
        if three.versions()[0] in manifest.read_text():
            forest = manifest.with_name("model.safetensors")
            forest.write_bytes(forest.read_bytes()[:-1] + b"x")
    code, shown = command("1", "--why", "hope")
    assert (code, live(three), shown.count("\n")) == (1, "3", 1)
    assert "model.safetensors" in shown


@ANYWHERE
def test_a_move_in_mlflow_is_noticed(three: Workspace, command: Command) -> None:
    """A move that was made past this project is written down once, as such, by the server that follows it or by who
    looks next."""
    with serving(three) as (url, _):
        until(lambda: version(url) == three.versions()[2])
        three.store().connect().set_registered_model_alias(three.model_name, "champion", "2")
        until(lambda: version(url) == three.versions()[1])
        until(lambda: noticed(url, "2"))
        (newest, *_) = requests.get(f"{url}/model/info", timeout=10).json()["journal"]
        assert (newest["from"], newest["who"]) == ("3", journal.NOTICED)
    three.store().connect().set_registered_model_alias(three.model_name, "challenger", "1")
    for _ in range(2):
        code, shown = command("--journal")
        assert (code, shown.count(journal.NOTICED)) == (0, 2)
    assert [(move.alias, move.to) for move in three.store().journal()[3:]] == [("champion", "2"), ("challenger", "1")]


def test_where_nothing_can_be_written_the_move_is_told(three: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder that is read-only, or while a training hangs with the lock, a move that nobody wrote down is told,
    and nothing fails."""
    monkeypatch.setattr(registry, "PATIENCE", 0)
    three.store().connect().set_registered_model_alias(three.model_name, "champion", "2")

    store = three.store()
    with FileLock(three.artifacts / ".registry.lock"):
        assert store.deployments()[-1].who == journal.NOTICED
    assert len(store.journal()) == 3

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Store, "lock", refuse)
    assert store.deployments()[-1].who == journal.NOTICED
    assert len(store.journal()) == 3


@ANYWHERE
def test_a_move_that_went_on_meanwhile_is_not_noticed_twice(three: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the alias goes on, and that is written down, while a server reads the journal, the server writes nothing."""
    store = three.store()
    two, three_ = (listed.version for listed in store.versions()[1::-1])
    read = store.journal

    def read_and_wait() -> list[Deployment]:
        moves = read()
        monkeypatch.setattr(store, "journal", read)
        three.store().move("champion", two, "meanwhile")
        three.store().move("champion", three_, "and back")
        return moves

    monkeypatch.setattr(store, "journal", read_and_wait)
    assert [move.who for move in store.deployments()] == [journal.whoami()] * 3
    assert [move.to for move in store.journal()] == ["1", "2", "3", "2", "3"]


@ANYWHERE
def test_a_challenger_that_wins_is_none_any_more(three: Workspace, command: Command) -> None:
    """Made live, the challenger is no longer marked as one, so that after a rollback it answers nobody; what is live
    can't be marked, and to mark what is marked is no move."""
    assert command("--challenger", "2")[0] == 0
    assert "is it already" in command("--challenger", "2")[1]
    assert "is live: a challenger is another one" in command("--challenger", "3")[1]
    assert three.store().challenger() is not None
    assert command("2", "--why", "it won")[0] == 0
    assert three.store().challenger() is None
    assert command("--rollback", "--why", "broken")[0] == 0
    assert (live(three), three.store().challenger()) == ("3", None)
    assert "no version is marked" in command("--no-challenger")[1]
    moves = [(move.alias, move.origin, move.to) for move in three.store().journal()[3:]]
    assert moves == [
        ("challenger", None, "2"),
        ("champion", "3", "2"),
        ("challenger", "2", None),
        ("champion", "2", "3"),
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["9", "--why", "x"], 1, "there is no version '9'. The newest are 3, 2, 1"),
        (["1"], 2, "--why: say why it should be live"),
        (["1", "--why", " "], 2, "--why: say why it should be live"),
        (["1", "--rollback"], 2, "argument VERSION: give it alone"),
        (["--rollback", "--journal"], 2, "not allowed with"),
        (["--why", "x"], 2, "there is no move to give a reason for"),
        (["--challenger", "nope"], 1, "there is no version 'nope'"),
        (["--challenger", ""], 1, "there is no version ''"),
        (["--compare", ""], 1, "there is no version ''"),
        (["--prune"], 2, "give both, as in --prune --keep 10"),
        (["--keep", "3"], 2, "give both, as in --prune --keep 10"),
        (["--prune", "--keep", "0"], 2, "is not a whole number from 1"),
        (["--registry"], 2, "argument --registry: it goes with --prune"),
        (["--rollback", "--url", "x"], 2, "argument --url: it goes with --compare"),
        (["--model-name", "other"], 1, "No model has been trained yet"),
        (["--tracking-uri", "nonsense://host"], 1, "MLflow knows no store 'nonsense:'"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    three: Workspace, command: Command, arguments: list[str], code: int, said: str
) -> None:
    """A wrong version, option or store ends with its reason, moves nothing, and writes nothing down."""
    before = three.store().journal()
    status, shown = command(*arguments)
    assert status == code
    assert said in shown.splitlines()[-1]
    assert (live(three), three.store().journal()) == ("3", before)


@ANYWHERE
def test_what_is_not_what_was_registered_does_not_become_live(three: Workspace, command: Command) -> None:
    """A version whose release isn't the one that the registry's tag says is refused, and what is live stays."""
    three.store().connect().set_model_version_tag(three.model_name, "1", registry.CHECKSUM_TAG, "0" * 64)
    code, shown = command("1", "--why", "hope")
    assert (code, live(three), shown.count("\n")) == (1, "3", 1)
    assert "was altered" in shown


@ANYWHERE
def test_a_candidate_answers_again_what_was_answered(three: Workspace, command: Command) -> None:
    """--compare says how many of a running API's newest predictions a version would change, which ones, how far the
    probabilities move, and the latency of both: as the two models themselves have it."""
    three.train("--n-estimators", "2", "--seed", "3", "--promote", "never")
    rows = np.random.default_rng(0).uniform([4, 2, 1, 0], [8, 4.5, 7, 2.5], (200, 4))
    with serving(three) as (url, _):
        until(lambda: version(url) == three.versions()[2])
        code, shown = command("--compare", "4", "--url", url)
        assert (code, shown.splitlines()[-1]) == (
            1, f"promote_model.py: {url} has no predictions of these features yet: there is nothing to compare on",
        )  # fmt: skip
        names = three.store().fetch(three.store().champion()).schema.feature_names
        columns = dict(zip(names, rows.T.tolist(), strict=True))
        assert requests.post(f"{url}/predict/batch", json={"columns": columns}, timeout=10).status_code == 200
        answered = requests.get(f"{url}/predictions/history?limit=1000", timeout=10).json()["predictions"]
        shown = command("--compare", "4", "--url", url)[1]
        whole = command("--compare", "4", "--all", "--url", url)[1]
    versions = {listed.version.registry_version: listed.version for listed in three.store().versions()}
    live, candidate = (Predictor(three.store().fetch(versions[number])) for number in ("3", "4"))
    truth = comparison.difference(live.outputs(rows), candidate.outputs(rows))
    changed = int(truth.changed.sum())
    assert promote_model.SHOWN < changed < 200
    assert f"they were made  200 by {three.versions()[2]}" in shown
    assert f"another class   {changed} of 200 ({changed / 2:.1f}%)" in shown
    assert f"moved by {truth.distance.mean():.4f} in the mean, {truth.distance.max():.4f} at most" in shown
    assert re.search(r"latency, a row  \d+\.\d µs against \d+\.\d µs", shown)
    assert f"left out: {changed - promote_model.SHOWN}; --all shows them" in shown
    named = {line.split()[2] for line in whole.partition("moved\n")[2].splitlines()}
    assert named == {
        entry["prediction_id"] for entry in answered if truth.changed[int(entry["prediction_id"].partition("-")[2])]
    }
    moved = [float(line.split()[-1]) for line in whole.partition("moved\n")[2].splitlines()]
    assert moved == sorted(moved, reverse=True)


def test_a_comparison_without_an_api_says_so(three: Workspace, command: Command) -> None:
    """Where no API answers, or something else does, that is said in one line, with what to do."""
    free = f"http://127.0.0.1:{addresses.free_port('127.0.0.1')}"
    with tracking_server(three.folder) as other:
        for url, said in ((free, "no API answers"), ("nonsense", "no API answers"), (other, "answers with status 404")):
            code, shown = command("--compare", "1", "--url", url)
            assert code == 1
            (line,) = shown.splitlines()
            assert said in line
            assert "--url" in line


@pytest.fixture(scope="module")
def trained_six(trained_thrice: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Versions 1 to 6; 5 is live, a rollback leads to 3, 2 is the challenger, 1 and 4 were never more than registered
    or live long ago; 4 is the best of two trials. Not to be changed."""
    six = Workspace(tmp_path_factory.mktemp("six") / "copy")
    shutil.copytree(trained_thrice.folder, six.folder)
    for search in (["--search", "2", "--folds", "2"], [], []):
        six.train("--n-estimators", "5", "--promote", "never", *search)
    store = six.store()
    versions = {listed.version.registry_version: listed.version for listed in store.versions()}
    store.move("champion", versions["5"], "better")
    store.move("challenger", versions["2"], "to watch")
    return six


@pytest.fixture
def six(trained_six: Workspace, three: Workspace) -> Workspace:
    """A copy of it in place of the three, to be changed at will."""
    shutil.rmtree(three.folder)
    shutil.copytree(trained_six.folder, three.folder)
    return three


def test_old_versions_are_removed_and_needed_ones_stay(six: Workspace, command: Command) -> None:
    """--prune removes what is older than the newest ones from the artifacts, but not the champion, the challenger or
    where a rollback leads; what is gone there is still found in MLflow."""
    before = six.versions()
    code, shown = command("--prune", "--keep", "1")
    assert (code, len(shown.splitlines())) == (0, 3)
    assert six.versions() == [before[1], before[2], before[4], before[5]]
    assert len(six.store().versions()) == 6
    assert "0 versions removed" in command("--prune", "--keep", "1")[1]
    assert not list(six.artifacts.glob(".*.partial*"))
    assert command("--rollback")[0] == 0
    assert live(six) == "3"
    assert command("1", "--why", "it is in MLflow still")[0] == 0
    assert live(six) == "1"


def test_with_the_registry_they_are_gone(six: Workspace, command: Command) -> None:
    """--prune --registry removes them from MLflow, too, with the trials of their searches: no list has them, what is
    printed frees their files, and a training, a rollback and a running server go on as before."""
    before = six.versions()
    with serving(six) as (url, _):
        until(lambda: version(url) == before[4])
        code, shown = command("--prune", "--keep", "2", "--registry")
        assert code == 0
        assert [listed.version.registry_version for listed in six.store().versions()] == ["6", "5", "3", "2"]
        gc = shown.splitlines()[-1].strip()
        assert gc.startswith("MLFLOW_ALLOW_FILE_STORE=true mlflow gc ")
        runs = len(list((six.folder / "mlruns").glob("*/*/artifacts")))
        path = {"PATH": f"{Path(PYTHON).parent}:{os.environ['PATH']}"}
        subprocess.run(gc, shell=True, check=True, env=six.environment | path, cwd=six.folder, capture_output=True)
        assert runs - len(list((six.folder / "mlruns").glob("*/*/artifacts"))) == 2 + 2
        seventh = six.train("--n-estimators", "5")
        until(lambda: version(url) == seventh)
        assert live(six) == "7"
        assert command("--rollback")[0] == 0
        assert command("--rollback")[0] == 0
        until(lambda: version(url) == before[2])
        assert requests.get(f"{url}/health", timeout=10).json()["status"] == "healthy"
    assert live(six) == "3"


def test_a_cut_removal_is_taken_up_again(six: Workspace, command: Command) -> None:
    """If a version's run or model is gone from MLflow already, it is removed all the same; what a killed removal left
    in the artifacts is swept by the next training."""
    store = six.store()
    client = store.connect()
    entry = client.get_model_version("iris-classifier", "1")
    client.delete_run(entry.run_id)
    client.delete_logged_model(entry.model_id)
    (six.artifacts / six.versions()[3]).rename(six.artifacts / f".{six.versions()[3]}.partial")
    assert command("--prune", "--keep", "1", "--registry")[0] == 0
    assert [listed.version.registry_version for listed in store.versions()] == ["6", "5", "3", "2"]
    six.train("--n-estimators", "5")
    assert not list(six.artifacts.glob(".*.partial*"))


@pytest.mark.parametrize("anywhere", ["database", "server"], indirect=True)
def test_a_whole_life(anywhere: Workspace) -> None:
    """On a database and a tracking server: trained, followed, rolled back, pruned and trained again, with a
    server whose artifacts start empty; MLflow lists what is left."""
    elsewhere = Workspace(anywhere.folder / "api", anywhere.uri)
    elsewhere.folder.mkdir()

    def promote(*arguments: str) -> None:
        done = anywhere.run("promote_model.py", *arguments)
        assert done.returncode == 0, done.stderr

    versions = [anywhere.train("--n-estimators", trees) for trees in ("5", "6", "7")]
    with serving(elsewhere) as (url, _):
        until(lambda: version(url) == versions[2])
        promote("--rollback")
        until(lambda: version(url) == versions[1])
        promote(versions[2], "--why", "it wasn't that")
        until(lambda: version(url) == versions[2])
        promote("--challenger", versions[1])
        until(lambda: requests.get(f"{url}/model/info", timeout=10).json()["challenger"] is not None)
        promote("--prune", "--keep", "1", "--registry")
        versions.append(anywhere.train("--n-estimators", "8"))
        until(lambda: version(url) == versions[3])
        assert requests.get(f"{url}/health", timeout=10).json()["status"] == "healthy"
    left = [listed.version.model_version for listed in anywhere.store().versions()]
    assert left == [versions[3], versions[2], versions[1]]
    assert anywhere.versions() == versions[1:]
    written = [(move.alias, move.origin, move.to) for move in anywhere.store().journal()]
    champions = [(origin, to) for alias, origin, to in written if alias == "champion"]
    assert champions == [(None, "1"), ("1", "2"), ("2", "3"), ("3", "2"), ("2", "3"), ("3", "4")]
    assert ("challenger", None, "2") in written


def test_what_somebody_needs_is_not_removed(three: Workspace, command: Command) -> None:
    """--prune keeps a version that got an alias a moment ago past this project, what a rollback then leads to, one
    whose run another registered model is made of, and whatever a tag names that is no version's folder."""
    client = three.store().connect()
    precious = three.folder / "precious"
    precious.mkdir()
    client.set_model_version_tag(three.model_name, "1", registry.VERSION_TAG, f"../{precious.name}")
    client.set_registered_model_alias(three.model_name, "champion", "2")
    code, shown = command("--prune", "--keep", "1", "--registry")
    assert (code, "0 versions removed" in shown) == (0, True)
    assert precious.is_dir()
    client.set_model_version_tag(three.model_name, "1", registry.VERSION_TAG, three.versions()[0])
    made = client.get_model_version(three.model_name, "1")
    name = f"copy-{secrets.token_hex(4)}"
    client.create_registered_model(name)
    client.create_model_version(name, made.source, made.run_id, model_id=made.source.removeprefix("models:/"))
    assert "0 versions removed" in command("--prune", "--keep", "1", "--registry")[1]
    assert len(three.versions()) == 3
    client.delete_registered_model(name)
    assert "1 version removed" in command("--prune", "--keep", "1", "--registry")[1]
