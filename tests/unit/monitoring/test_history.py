"""The history of the last predictions."""

from tabserve.monitoring import HISTORY_SIZE, History
from tests.support.records import batch, prediction


def test_newest_predictions_come_first() -> None:
    """A page holds the newest first, without those that the offset skips."""
    history = History()
    for number in range(10):
        history.observe(prediction(number))
    assert [entry.prediction_id for entry in history.page(3, 0)] == ["9", "8", "7"]
    assert [entry.prediction_id for entry in history.page(3, 8)] == ["1", "0"]
    assert history.page(3, 10) == []


def test_batch_is_in_the_history_row_by_row() -> None:
    """The last rows of a batch are in the history under their numbers, mixed with single predictions by time. If a
    batch is larger than the history, only its last rows stay in memory."""
    history = History()
    history.observe(prediction(1))
    history.observe_batch(batch(2, 2))
    history.observe(prediction(3))
    assert [entry.prediction_id for entry in history.page(9, 0)] == ["3", "b2-1", "b2-0", "1"]
    assert [entry.inputs for entry in history.page(1, 1)] == [{"x": 1.0}]
    history.observe_batch(batch(HISTORY_SIZE + 500, 4))
    history.observe(prediction(5))
    assert len(history) == HISTORY_SIZE
    page = history.page(HISTORY_SIZE, 0)
    assert [page[0].prediction_id, page[1].prediction_id, page[-1].prediction_id] == ["5", "b4-1499", "b4-501"]
    assert batch(HISTORY_SIZE + 500, 4).newest(HISTORY_SIZE).rows.values.base is None


def test_oldest_predictions_are_dropped() -> None:
    """However many predictions there were, the last 1000 are in the history."""
    history = History()
    for number in range(HISTORY_SIZE + 5):
        history.observe(prediction(number))
    assert len(history) == HISTORY_SIZE == 1000
    assert history.page(HISTORY_SIZE, HISTORY_SIZE - 1)[0].prediction_id == "5"


def test_prediction_that_is_recorded_late_is_ordered_by_its_time() -> None:
    """A row that is recorded after predictions that were made later comes after them in a page."""
    history = History()
    for number in (1, 3, 4, 2):
        history.observe(prediction(number))
    assert [entry.prediction_id for entry in history.page(9, 0)] == ["4", "3", "2", "1"]
