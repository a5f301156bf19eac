"""The journal: it only grows, it keeps its order, and it says where a rollback goes."""

import json

import pytest

from tabserve.model.versions import Deployment
from tabserve.registry import journal


def played(*steps: str) -> list[Deployment]:
    """The journal after these moves of the champion: `3`, or `rollback 2`."""
    moves: list[Deployment] = []
    for step in steps:
        rollback, _, to = step.rpartition(" ")
        number = None if to == "none" else to
        moves.append(journal.next_move(moves, "champion", number, "me", "why", rollback=bool(rollback)))
    return moves


@pytest.mark.parametrize(
    ("steps", "back"),
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
def test_a_rollback_goes_to_what_was_live_before(steps: list[str], back: list[str]) -> None:
    """To the version before; a second one goes further back, and not to the version that the first one left. A version
    that came twice, one that was written down twice, and a time without any don't lead astray."""
    assert journal.previous(played(*steps), "champion") == back


def test_entries_come_back_in_their_order() -> None:
    """Moves are read in the order of their numbers, whatever the clock said and however their keys are sorted."""
    moves = [*played(*map(str, range(1, 1200)))]
    entries = dict(journal.entry(move) for move in reversed(moves))
    assert len(entries) == len(moves)
    assert journal.read(entries) == moves


def test_what_is_no_entry_is_passed_over() -> None:
    """Other tags, an entry that was cut, and one of another form don't keep the others from being read."""
    (move,) = played("1")
    key, text = journal.entry(move)
    others = {
        "mlflow.note.content": "x",
        "journal.000002.a": text[:-5],
        "journal.000003.a": "[1]",
        "journal.000004.a": json.dumps({"number": 1}),
        "journal.000005.a": "",
        "journal.000006.a": text.replace('"number": 1', '"number": "1"'),
    }
    assert journal.read({key: text} | others) == [move]


def test_two_entries_at_once_keep_both() -> None:
    """Two moves that are written at once, and so have the same number, both stay."""
    one, other = (played("1")[0] for _ in range(2))
    assert len(journal.read(dict(map(journal.entry, (one, other))))) == 2


def test_a_move_that_nobody_wrote_down_is_noticed() -> None:
    """If the alias isn't where the journal says, the missing move is named as such; if it is, there is none."""
    moves = played("1", "2")
    assert journal.unwritten(moves, "champion", "2") is None
    assert journal.unwritten([], "champion", None) is None
    missing = journal.unwritten(moves, "champion", "7")
    assert missing is not None
    assert (missing.number, missing.origin, missing.to, missing.who) == (3, "2", "7", journal.NOTICED)


def test_a_move_that_is_written_down_twice_is_told_once() -> None:
    """Where servers share only a database, two may notice a move at once, or one notices it while who made it writes it
    down: it is told once, by who made it if that is known, and the next one follows."""
    moves = played("1", "2", "3")
    noticed = journal.unwritten(moves[:2], "champion", "3")
    assert noticed is not None
    for _ in range(10):  # keys are random
        assert journal.read(dict(journal.entry(move) for move in [noticed, *moves])) == moves
    entries = dict(journal.entry(move) for move in [*moves[:2], noticed, noticed])
    assert len(entries) == 4
    moves = [*moves[:2], noticed]
    assert journal.read(entries) == moves
    back = journal.next_move(moves, "champion", "2", journal.NOTICED, "why")
    assert journal.read(entries | dict([journal.entry(back)])) == [*moves, back]


def test_a_reason_is_one_line_of_bounded_length() -> None:
    """However long a reason, and however many lines it has, its entry fits into a tag of any store."""
    move = journal.next_move([], "champion", "1", "me", "line\n\tline " + "ü" * 10_000)
    assert move.why.startswith("line line ü")
    assert len(journal.entry(move)[1]) < 1000
