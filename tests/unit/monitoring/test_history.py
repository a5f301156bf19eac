"""The ring of the last predictions."""

from tabserve.monitoring.history import SIZE, History
from tests.support.records import batch, prediction


def test_the_newest_come_first() -> None:
    """A page holds the newest first, after those that the offset leaves out."""
    history = History()
    for number in range(10):
        history.observe(prediction(number))
    assert [entry.prediction_id for entry in history.page(3, 0)] == ["9", "8", "7"]
    assert [entry.prediction_id for entry in history.page(3, 8)] == ["1", "0"]
    assert history.page(3, 10) == []


def test_a_batch_is_kept_row_by_row() -> None:
    """The last rows of a batch stand in the history under their numbers, mixed with single predictions by time, and a
    batch larger than the ring leaves as many as the ring holds, without keeping the rest in memory."""
    history = History()
    history.observe(prediction(1))
    history.observe_batch(batch(2, 2))
    history.observe(prediction(3))
    assert [entry.prediction_id for entry in history.page(9, 0)] == ["3", "b2-1", "b2-0", "1"]
    assert [entry.inputs for entry in history.page(1, 1)] == [{"x": 1.0}]
    history.observe_batch(batch(SIZE + 500, 4))
    history.observe(prediction(5))
    assert len(history) == SIZE
    page = history.page(SIZE, 0)
    assert [page[0].prediction_id, page[1].prediction_id, page[-1].prediction_id] == ["5", "b4-1499", "b4-501"]
    assert batch(SIZE + 500, 4).newest(SIZE).rows.values.base is None


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
