"""promote_model.py: shows which version is live, deploys, rolls back and records; nothing broken becomes live."""

import re

import numpy as np
import pytest
import requests

from tabserve.cli import addresses, promote
from tabserve.model.predictor import Predictor
from tabserve.model.versions import BY_HAND
from tabserve.monitoring import compare_outputs
from tabserve.registry import journal
from tabserve.registry.reader import CHECKSUM_TAG
from tests.support.client import served_version, shows_deployment
from tests.support.promotion import Command, live
from tests.support.servers import answering, serving
from tests.support.waiting import LIMIT, until
from tests.support.workspaces import Workspace

ANYWHERE = pytest.mark.parametrize("three", ["folder", "database", "server"], indirect=True)
"""Runs a test on a folder, a database and a tracking server, which must behave alike."""


@ANYWHERE
def test_list_shows_every_version_and_which_is_live(three: Workspace, command: Command) -> None:
    """Without arguments: a line for each version, the newest first, with its metrics; the live one is marked."""
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


def test_long_list_is_cut(three: Workspace, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest versions are shown, then how many are left out. --all shows them too."""
    monkeypatch.setattr(promote, "MAX_ROWS", 2)
    shown = command()[1].splitlines()
    assert [line.split()[0] for line in shown] == ["version", "3", "2", "older,"]
    assert shown[-1] == "older, left out: 1; `python promote_model.py --all` lists them"
    assert len(command("--all")[1].splitlines()) == 1 + len(three.versions())


@ANYWHERE
def test_version_becomes_live_with_its_reason(three: Workspace, command: Command) -> None:
    """A version is named by its number or its model version. A running server follows. Its /model/info, the journal and
    the version's tag in MLflow say when it became live, by whom, in place of which version, and why."""
    with serving(three) as (url, _):
        until(lambda: served_version(url) == three.versions()[2])
        code, shown = command("1", "--why", "passed\nreview")
        assert (code, live(three)) == (0, "1")
        assert "in place of 3: passed review" in shown
        until(lambda: served_version(url) == three.versions()[0])
        until(lambda: shows_deployment(url, "1"))
        newest, before, *_ = requests.get(f"{url}/model/info", timeout=LIMIT).json()["journal"]
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
    """A rollback makes the version live that was live before; a second one goes further back, down to the first."""
    assert command("--rollback", "--why", "errors at night")[0] == 0
    assert live(three) == "2"
    assert command("--rollback")[0] == 0
    assert live(three) == "1"
    code, shown = command("--rollback")
    assert (code, live(three)) == (1, "1")
    assert re.fullmatch(r"promote_model\.py: there is nothing to roll back to: .*\n", shown)
    assert "errors at night" in command("--journal")[1]


@ANYWHERE
def test_candidate_is_marked_and_unmarked(three: Workspace, command: Command) -> None:
    """Both are recorded, and the live version stays live."""
    assert command("--challenger", "1")[0] == 0
    assert "challenger" in command()[1].splitlines()[3]
    assert command("--no-challenger")[0] == 0
    assert "challenger" not in command()[1]
    assert live(three) == "3"
    assert [line.split()[3] for line in command("--journal")[1].splitlines()[1:3]] == ["challenger", "challenger"]


@ANYWHERE
def test_live_version_is_not_deployed_again(three: Workspace, command: Command) -> None:
    """Nothing moves, and nothing is recorded."""
    before = three.store().journal()
    code, shown = command("3", "--why", "again")
    assert (code, "is live already" in shown) == (0, True)
    assert three.store().journal() == before


def test_version_with_a_damaged_release_does_not_become_live(three: Workspace, command: Command) -> None:
    """If both copies of its release are damaged, it is refused, and the live version stays live."""
    for manifest in three.folder.rglob("manifest.json"):
        if three.versions()[0] in manifest.read_text():
            forest = manifest.with_name("model.safetensors")
            forest.write_bytes(forest.read_bytes()[:-1] + b"x")
    code, shown = command("1", "--why", "hope")
    assert (code, live(three), shown.count("\n")) == (1, "3", 1)
    assert "model.safetensors" in shown


@ANYWHERE
def test_move_by_hand_is_shown_by_a_server_and_recorded_by_a_command(three: Workspace, command: Command) -> None:
    """A server shows an alias that was moved in MLflow as not recorded, and so do the listings; none of them writes.
    The next command that deploys records all such moves as one, once, and the server shows that entry."""
    client = three.store().connect()
    with serving(three) as (url, _):
        until(lambda: served_version(url) == three.versions()[2])
        client.set_registered_model_alias(three.model_name, "champion", "1")
        until(lambda: served_version(url) == three.versions()[0])
        client.set_registered_model_alias(three.model_name, "champion", "2")
        until(lambda: shows_deployment(url, "2"))
        (newest, *_) = requests.get(f"{url}/model/info", timeout=LIMIT).json()["journal"]
        assert (newest["from"], newest["who"], newest["recorded"]) == ("3", BY_HAND, False)
        client.set_registered_model_alias(three.model_name, "challenger", "1")
        for _ in range(2):
            code, shown = command("--journal")
            assert (code, shown.count(BY_HAND)) == (0, 2)
            assert shown.splitlines()[1].startswith("-")
            assert shown.splitlines()[1].split()[1:4] == ["champion", "3", "2"]
            assert BY_HAND in command()[1]
        assert len(three.store().journal()) == 3
        assert command("--no-challenger")[0] == 0
        until(lambda: requests.get(f"{url}/model/info", timeout=LIMIT).json()["journal"][0]["recorded"])
    by_hand = three.store().journal()[3:5]
    assert [(move.alias, move.origin, move.to) for move in by_hand] == [
        ("challenger", None, "1"),
        ("champion", "3", "2"),
    ]
    assert all(
        re.fullmatch(r"moved by hand in MLflow between .* and .*, written down by .*", move.why) for move in by_hand
    )
    assert [(move.alias, move.to) for move in three.store().journal()[5:]] == [("challenger", None)]
    assert command("2", "--why", "it is live already")[0] == 0
    assert len(three.store().journal()) == 6


@ANYWHERE
def test_command_that_deploys_nothing_records_what_was_moved_by_hand(three: Workspace, command: Command) -> None:
    """The version is live already because somebody moved the alias by hand."""
    three.store().connect().set_registered_model_alias(three.model_name, "champion", "2")
    code, shown = command("2", "--why", "passed review")
    assert (code, "is live already" in shown) == (0, True)
    assert [(move.to, move.who) for move in three.store().journal()[3:]] == [("2", BY_HAND)]


@ANYWHERE
def test_challenger_that_becomes_live_is_no_challenger_any_more(three: Workspace, command: Command) -> None:
    """So it answers nobody after a rollback. The live version can't be marked as the challenger, and marking the
    challenger again moves nothing."""
    assert command("--challenger", "2")[0] == 0
    assert "is the challenger already" in command("--challenger", "2")[1]
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
        (["--why", "x"], 2, "nothing is deployed"),
        (["--challenger", "nope"], 1, "there is no version 'nope'"),
        (["--challenger", ""], 1, "there is no version ''"),
        (["--challenger", "3"], 1, "is live: the challenger must be another version"),
        (["--compare", ""], 1, "there is no version ''"),
        (["--prune"], 2, "give both, as in --prune --keep 10"),
        (["--keep", "3"], 2, "give both, as in --prune --keep 10"),
        (["--prune", "--keep", "0"], 2, "is not a whole number from 1"),
        (["--registry"], 2, "argument --registry: give it with --prune"),
        (["--rollback", "--url", "x"], 2, "argument --url: give it with --compare"),
        (["--model-name", "other"], 1, "No model has been trained yet"),
        (["--tracking-uri", "nonsense://host"], 1, "MLflow has no store 'nonsense:'"),
    ],
)
def test_wrong_command_line_is_refused_in_one_line(
    three: Workspace, command: Command, arguments: list[str], code: int, said: str
) -> None:
    """The line says what is wrong. Nothing moves, and nothing is recorded."""
    before = three.store().journal()
    status, shown = command(*arguments)
    assert status == code
    assert said in shown.splitlines()[-1]
    assert (live(three), three.store().journal()) == ("3", before)


@ANYWHERE
def test_release_that_was_not_registered_does_not_become_live(three: Workspace, command: Command) -> None:
    """If the registry's tag has another checksum, the version is refused, and the live version stays live."""
    three.store().connect().set_model_version_tag(three.model_name, "1", CHECKSUM_TAG, "0" * 64)
    code, shown = command("1", "--why", "hope")
    assert (code, live(three), shown.count("\n")) == (1, "3", 1)
    assert "was altered" in shown


@ANYWHERE
def test_candidate_answers_recorded_predictions_again(three: Workspace, command: Command) -> None:
    """--compare says how many of a running API's newest predictions a version would change, which ones, how far the
    probabilities move, and the latency of both. The numbers are those of the two models themselves."""
    three.train("--n-estimators", "2", "--seed", "3", "--promote", "never")
    rows = np.random.default_rng(0).uniform([4, 2, 1, 0], [8, 4.5, 7, 2.5], (200, 4))
    with serving(three) as (url, _):
        until(lambda: served_version(url) == three.versions()[2])
        code, shown = command("--compare", "4", "--url", url)
        assert (code, shown.splitlines()[-1]) == (
            1, f"promote_model.py: {url} has no predictions of these features yet: there is nothing to compare on",
        )  # fmt: skip
        names = three.store().fetch(three.store().champion()).schema.feature_names
        columns = dict(zip(names, rows.T.tolist(), strict=True))
        assert requests.post(f"{url}/predict/batch", json={"columns": columns}, timeout=LIMIT).status_code == 200
        answered = requests.get(f"{url}/predictions/history?limit=1000", timeout=LIMIT).json()["predictions"]
        shown = command("--compare", "4", "--url", url)[1]
        whole = command("--compare", "4", "--all", "--url", url)[1]
    versions = {listed.version.registry_version: listed.version for listed in three.store().versions()}
    live, candidate = (Predictor(three.store().fetch(versions[number])) for number in ("3", "4"))
    truth = compare_outputs(live.schema.task, live.outputs(rows), candidate.schema.task, candidate.outputs(rows))
    changed = int(truth.changed.sum())
    assert promote.MAX_ROWS < changed < 200
    assert f"they were made  200 by {three.versions()[2]}" in shown
    assert f"another class   {changed} of 200 ({changed / 2:.1f}%)" in shown
    assert f"moved by {truth.distance.mean():.4f} in the mean, {truth.distance.max():.4f} at most" in shown
    assert re.search(r"latency, a row  \d+\.\d µs against \d+\.\d µs", shown)
    assert f"left out: {changed - promote.MAX_ROWS}; --all shows them" in shown
    named = {line.split()[2] for line in whole.partition("moved\n")[2].splitlines()}
    assert named == {
        entry["prediction_id"] for entry in answered if truth.changed[int(entry["prediction_id"].partition("-")[2])]
    }
    moved = [float(line.split()[-1]) for line in whole.partition("moved\n")[2].splitlines()]
    assert moved == sorted(moved, reverse=True)


def test_comparison_without_an_api_says_what_to_do(command: Command) -> None:
    """If no API answers there, or another kind of server does, one line says so and what to do."""
    free = f"http://127.0.0.1:{addresses.free_port('127.0.0.1')}"
    with answering(404) as other:
        for url, said in ((free, "no API answers"), ("nonsense", "no API answers"), (other, "answers with status 404")):
            code, shown = command("--compare", "1", "--url", url)
            assert code == 1
            (line,) = shown.splitlines()
            assert said in line
            assert "--url" in line


@pytest.mark.parametrize("anywhere", ["database", "server"], indirect=True)
def test_whole_life_of_a_model(anywhere: Workspace) -> None:
    """On a database and a tracking server: trained, served with artifacts that start empty, rolled back, pruned and
    trained again. MLflow lists the versions that are left."""
    elsewhere = Workspace(anywhere.folder / "api", anywhere.uri)
    elsewhere.folder.mkdir()

    def promote(*arguments: str) -> None:
        done = anywhere.run("promote_model.py", *arguments)
        assert done.returncode == 0, done.stderr

    versions = [anywhere.train("--n-estimators", trees) for trees in ("5", "6", "7")]
    with serving(elsewhere) as (url, _):
        until(lambda: served_version(url) == versions[2])
        promote("--rollback")
        until(lambda: served_version(url) == versions[1])
        promote(versions[2], "--why", "it wasn't that")
        until(lambda: served_version(url) == versions[2])
        promote("--challenger", versions[1])
        until(lambda: requests.get(f"{url}/model/info", timeout=LIMIT).json()["challenger"] is not None)
        promote("--prune", "--keep", "1", "--registry")
        versions.append(anywhere.train("--n-estimators", "8"))
        until(lambda: served_version(url) == versions[3])
        assert requests.get(f"{url}/health", timeout=LIMIT).json()["status"] == "healthy"
    left = [listed.version.model_version for listed in anywhere.store().versions()]
    assert left == [versions[3], versions[2], versions[1]]
    assert anywhere.versions() == versions[1:]
    written = [(move.alias, move.origin, move.to) for move in anywhere.store().journal()]
    champions = [(origin, to) for alias, origin, to in written if alias == "champion"]
    assert champions == [(None, "1"), ("1", "2"), ("2", "3"), ("3", "2"), ("2", "3"), ("3", "4")]
    assert ("challenger", None, "2") in written
