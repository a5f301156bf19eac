"""The journal: it only grows, keeps its order, and says where a rollback leads."""

import json
from dataclasses import replace

import pytest

from tabserve.model.versions import BY_HAND, Deployment
from tabserve.registry import journal


def played(*steps: str) -> list[Deployment]:
    """The journal after these deployments of the champion: `3`, or `rollback 2`."""
    deployments: list[Deployment] = []
    for step in steps:
        rollback, _, to = step.rpartition(" ")
        number = None if to == "none" else to
        deployments.append(
            journal.next_deployment(deployments, "champion", number, "me", "why", rollback=bool(rollback))
        )
    return deployments


def moved_by_hand(deployments: list[Deployment], to: str) -> Deployment:
    """The entry for a move of the champion by hand."""
    move = journal.unrecorded(deployments, "champion", to)
    assert move is not None
    return journal.by_hand(move, deployments[-1].when if deployments else None)


@pytest.mark.parametrize(
    ("steps", "earlier"),
    [
        ([], []),
        (["1"], []),
        (["1", "2"], ["1"]),
        (["1", "2", "3"], ["2", "1"]),
        (["1", "2", "3", "rollback 2"], ["1"]),
        (["1", "2", "3", "rollback 2", "rollback 1"], []),
        (["1", "2", "3", "rollback 2", "3"], ["2", "1"]),
        (["1", "2", "3", "rollback 2", "4"], ["2", "1"]),
        (["1", "2", "3", "2", "rollback 3"], ["2", "1"]),
        (["1", "2", "3", "2", "rollback 3", "rollback 2"], ["1"]),
        (["1", "2", "2"], ["1"]),
        (["1", "2", "3", "none", "3"], ["2", "1"]),
        (["1", "2", "none"], ["2", "1"]),
    ],
)
def test_rollback_leads_to_the_version_that_was_live_before(steps: list[str], earlier: list[str]) -> None:
    """A second rollback leads further back, and not to the version that the first one left. A version that was live
    twice, one that was recorded twice, and a time without a champion make no difference."""
    assert journal.previous(played(*steps), "champion") == earlier


def test_entries_are_read_in_the_order_of_their_numbers() -> None:
    """The clock and the order of the keys make no difference."""
    deployments = played(*map(str, range(1, 1200)))
    entries = dict(journal.entry(deployment) for deployment in reversed(deployments))
    assert len(entries) == len(deployments)
    assert journal.read(entries) == deployments


def test_tags_that_are_no_entries_are_skipped() -> None:
    """Other tags, an entry that was cut, and one of another form don't keep the others from being read."""
    (deployment,) = played("1")
    key, text = journal.entry(deployment)
    others = {
        "mlflow.note.content": "x",
        "journal.000002.a": text[:-5],
        "journal.000003.a": "[1]",
        "journal.000004.a": json.dumps({"number": 1}),
        "journal.000005.a": "",
        "journal.000006.a": text.replace('"number": 1', '"number": "1"'),
    }
    assert journal.read({key: text} | others) == [deployment]


def test_entry_of_the_first_version_of_this_project_is_read() -> None:
    """The form of an entry is fixed: a store outlives the program that wrote it."""
    text = (
        '{"number": 4, "when": "2026-11-24T00:00:00+00:00", "who": "someone in MLflow", "alias": "champion", '
        '"origin": "2", "to": "3", "why": "not written down; noticed by me@here", "rollback": false}'
    )
    (deployment,) = journal.read({"journal.000004.0a1b2c3d": text})
    assert (deployment.number, deployment.who, deployment.origin, deployment.to) == (4, BY_HAND, "2", "3")
    key, written = journal.entry(deployment)
    assert key.startswith("journal.000004.")
    assert json.loads(written) == json.loads(text)


def test_two_entries_with_the_same_number_are_both_kept() -> None:
    """Two deployments that are written at once get the same number."""
    first, second = (played("1")[0] for _ in range(2))
    assert len(journal.read(dict(map(journal.entry, (first, second))))) == 2


def test_alias_that_is_not_where_the_journal_says_gives_an_unrecorded_move() -> None:
    """It says that it was moved by hand and isn't recorded. If the journal is right there is none."""
    deployments = played("1", "2")
    assert journal.unrecorded(deployments, "champion", "2") is None
    assert journal.unrecorded([], "champion", None) is None
    move = journal.unrecorded(deployments, "champion", "7")
    assert move is not None
    assert (move.number, move.origin, move.to, move.who, move.recorded) == (3, "2", "7", BY_HAND, False)


def test_entry_of_a_move_by_hand_says_between_when_and_who_recorded_it() -> None:
    """Nobody knows when in MLflow an alias moved: the entry has the time of the last entry, and its own."""
    deployments = [replace(played("1")[0], when="2026-01-01T00:00:00+00:00")]
    entry = moved_by_hand(deployments, "7")
    assert entry.recorded
    assert entry.why == (
        f"moved by hand in MLflow between 2026-01-01T00:00:00+00:00 and {entry.when}, "
        f"written down by {journal.whoami()}"
    )
    assert moved_by_hand([], "7").why.startswith("moved by hand in MLflow before 20")


def test_move_that_is_recorded_twice_is_read_once() -> None:
    """Commands of machines that share only a database may both record a move by hand, or one records it while another,
    which made it, does so too. It is read once, as recorded by the command that made it if there is one, and the next
    deployment follows it."""
    deployments = played("1", "2", "3")
    by_hand = moved_by_hand(deployments[:2], "3")
    for _ in range(10):  # keys are random
        assert journal.read(dict(journal.entry(move) for move in [by_hand, *deployments])) == deployments
    entries = dict(journal.entry(move) for move in [*deployments[:2], by_hand, by_hand])
    assert len(entries) == 4
    deployments = [*deployments[:2], by_hand]
    assert journal.read(entries) == deployments
    back = journal.next_deployment(deployments, "champion", "2", BY_HAND, "why")
    assert journal.read(entries | dict([journal.entry(back)])) == [*deployments, back]


def test_reason_is_one_line_of_bounded_length() -> None:
    """However long a reason is, and however many lines it has, its entry fits into a tag of any store."""
    deployment = journal.next_deployment([], "champion", "1", "me", "line\n\tline " + "ü" * 10_000)
    assert deployment.why.startswith("line line ü")
    assert len(journal.entry(deployment)[1]) < 1000
