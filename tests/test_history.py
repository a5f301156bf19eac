"""The ring of the last predictions."""

from classifier.history import SIZE, History
from classifier.record import Prediction


def prediction(number: int) -> Prediction:
    time = f"2026-01-01T00:{number // 60:02}:{number % 60:02}+00:00"
    return Prediction(str(number), time, "20260101_000000", {}, 0, "a", (1.0,), 1.0, (), 0.1)


def test_the_newest_come_first() -> None:
    """A page holds the newest first, after those that the offset leaves out."""
    history = History()
    for number in range(10):
        history.observe(prediction(number))
    assert [entry.prediction_id for entry in history.page(3, 0)] == ["9", "8", "7"]
    assert [entry.prediction_id for entry in history.page(3, 8)] == ["1", "0"]
    assert history.page(3, 10) == []


def test_the_oldest_fall_out() -> None:
    """However many predictions there were, the last 1000 are kept."""
    history = History()
    for number in range(SIZE + 5):
        history.observe(prediction(number))
    assert len(history) == SIZE == 1000
    assert history.page(SIZE, SIZE - 1)[0].prediction_id == "5"


def test_what_is_recorded_late_stands_where_its_time_is() -> None:
    """A row of a large batch, recorded after single predictions that were made later, stands below those."""
    history = History()
    for number in (1, 3, 4, 2):
        history.observe(prediction(number))
    assert [entry.prediction_id for entry in history.page(9, 0)] == ["4", "3", "2", "1"]
