"""The task: the decision that follows from a model's outputs, for one row and for many."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tabserve.model import Classification, ClassOutcome, ClassOutcomes, Labels
from tabserve.model.task import Label, LabelSets, LabelType

TASK = Classification(classes=("red", "green", "blue"))

OUTPUTS = np.array([[0.2, 0.3, 0.5], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.4, 0.4, 0.2]])
"""Probabilities of four rows: one row per class, and one with a tie."""


@pytest.fixture
def outcomes() -> ClassOutcomes:
    return TASK.decide_rows(OUTPUTS.copy())


def test_most_probable_class_is_predicted() -> None:
    """The prediction is the index of the largest probability, the confidence is that probability, and the label is the
    name of the class."""
    assert TASK.decide([0.2, 0.3, 0.5]) == ClassOutcome(2, [0.2, 0.3, 0.5], 0.5, "blue", ("blue",), 0.9)


@pytest.mark.parametrize(
    ("outputs", "label"), [([0.4, 0.4, 0.2], "red"), ([0.2, 0.4, 0.4], "green"), ([1 / 3] * 3, "red")]
)
def test_tie_predicts_the_first_class(outputs: list[float], label: str) -> None:
    """Of classes with equal probabilities the first is predicted, for one row and for many."""
    assert TASK.decide(outputs).label == label
    (outcome,) = TASK.decide_rows(np.array([outputs])).outcomes()
    assert outcome.label == label


@given(
    st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3).filter(any)),
    st.sampled_from([0.0, 0.2, 0.25, 0.3, 0.5, 1.0]),
)
def test_many_rows_are_decided_as_row_by_row(counts: list[list[int]], least: float) -> None:
    """The columns of `decide_rows` are the decisions of `decide` on each row, ties and no rows at all included."""
    task = TASK.model_copy(update={"least_probability": least})
    rows = [[count / sum(row) for count in row] for row in counts]
    outcomes = task.decide_rows(np.array(rows, dtype=np.float64).reshape(-1, 3))
    columns, one_by_one = outcomes.columns(), [task.decide(row) for row in rows]
    labels, sets = columns["label"], columns["prediction_set"]
    assert isinstance(labels, Labels)
    assert isinstance(sets, LabelSets)
    assert [labels.names[code] for code in labels.codes] == [outcome.label for outcome in one_by_one]
    assert outcomes.confidence.tolist() == [outcome.confidence for outcome in one_by_one]
    assert sets.lists(slice(None)) == [list(outcome.prediction_set) for outcome in one_by_one]
    assert outcomes.outcomes() == one_by_one
    assert len(outcomes) == len(rows)


@pytest.mark.parametrize(
    ("least", "outputs", "members"),
    [
        (0.3, [0.5, 0.3, 0.2], ["red", "green"]),
        (0.3, [0.9, 0.05, 0.05], ["red"]),
        (0.6, [0.4, 0.3, 0.3], ["red"]),
        (0.25, [0.75, 0.25, 0.0], ["red", "green"]),
        (0.0, [1.0, 0.0, 0.0], ["red", "green", "blue"]),
        (0.1, [0.9, 0.0, 0.1], ["red", "blue"]),
    ],
)
def test_prediction_set_has_the_probable_classes(least: float, outputs: list[float], members: list[str]) -> None:
    """A prediction set has every class with the least probability, and the predicted class in any case."""
    task = TASK.model_copy(update={"least_probability": least})
    assert list(task.decide(outputs).prediction_set) == members


def test_reply_has_the_keys_of_a_classification() -> None:
    """The task's part of a reply has exactly these keys, and is a new dict each time."""
    outcome = TASK.decide([0.2, 0.3, 0.5])
    reply = outcome.reply()
    own = {"prediction": 2, "prediction_proba": [0.2, 0.3, 0.5], "confidence": 0.5, "label": "blue"}
    assert reply == own | {"prediction_set": ("blue",), "coverage": 0.9}
    reply["model_version"] = "20241201_143022"
    assert "model_version" not in outcome.reply()


def test_columns_have_the_keys_of_a_reply(outcomes: ClassOutcomes) -> None:
    """A batch reply has a column per key of a single reply, and each column has an entry per row. The labels are stored
    as codes."""
    columns = outcomes.columns()
    labels = columns["label"]
    assert columns.keys() | outcomes.head().keys() == TASK.decide([0.2, 0.3, 0.5]).reply().keys()
    assert isinstance(labels, Labels)
    assert [labels.names[code] for code in labels.codes] == ["blue", "red", "green", "red"]
    assert np.array_equal(np.asarray(columns["prediction"]), [2, 0, 1, 0])
    assert np.array_equal(np.asarray(columns["confidence"]), [0.5, 0.7, 0.8, 0.4])
    assert np.array_equal(np.asarray(columns["prediction_proba"]), OUTPUTS)


def test_slice_has_the_chosen_rows(outcomes: ClassOutcomes) -> None:
    """A slice of the outcomes holds the chosen rows in their order, and the classes."""
    part = outcomes[1:3]
    assert part.outcomes() == outcomes.outcomes()[1:3]
    assert part.task == TASK


@pytest.mark.parametrize(
    "array_of",
    [
        lambda outcomes: outcomes.prediction,
        lambda outcomes: outcomes.prediction_proba,
        lambda outcomes: outcomes.confidence,
    ],
)
def test_slice_owns_its_memory(
    outcomes: ClassOutcomes, array_of: Callable[[ClassOutcomes], np.ndarray[tuple[int, ...], np.dtype[np.generic]]]
) -> None:
    """A slice shares no memory with the outcomes, so that a kept slice doesn't keep a whole batch."""
    part = outcomes[-1:]
    assert not np.shares_memory(array_of(part), array_of(outcomes))
    assert array_of(part).base is None


@pytest.mark.parametrize(
    ("classes", "label_type", "labels"),
    [
        (("-1", "2", "10"), "number", [10, -1, 2, -1]),
        (("0.5", "1.0", "1.5"), "number", [1.5, 0.5, 1.0, 0.5]),
        (("1", "x", "True"), "text", ["True", "1", "x", "1"]),
    ],
)
def test_labels_have_the_type_of_the_table(
    classes: tuple[str, ...], label_type: LabelType, labels: list[Label]
) -> None:
    """Labels are numbers where the table has numbers: in single decisions, and in the column of a batch, which JSON and
    Arrow write as numbers."""
    task = Classification(classes=classes, label_type=label_type)
    outcomes = task.decide_rows(OUTPUTS)
    assert [outcome.label for outcome in outcomes.outcomes()] == labels
    assert [task.decide(row).label for row in OUTPUTS.tolist()] == labels
    column = outcomes.columns()["label"]
    if label_type == "number":
        assert isinstance(column, np.ndarray)
        assert column.tolist() == labels


@pytest.mark.parametrize(
    ("classes", "label_type"),
    [(("1", "x"), "number"), (("no", "yes"), "boolean"), (("a", "a"), "text"), (("1", "1.0"), "number")],
)
def test_classes_of_another_type_are_refused(classes: tuple[str, ...], label_type: LabelType) -> None:
    """Classes that aren't of the type of the labels, or that are the same label twice, are no task."""
    with pytest.raises(ValidationError):
        Classification(classes=classes, label_type=label_type)


def test_outputs_are_one_per_class() -> None:
    """A model of the task gives one number per class."""
    assert TASK.outputs == 3


@pytest.mark.parametrize("classes", [(), ("only",)])
def test_fewer_than_two_classes_are_refused(classes: tuple[str, ...]) -> None:
    """A classification needs at least two classes."""
    with pytest.raises(ValidationError):
        Classification(classes=classes)


def test_task_survives_json() -> None:
    """A task is stored in the manifest of a release with its kind, and is equal when it is read back."""
    stored = TASK.model_dump_json()
    assert '"kind":"classification"' in stored
    assert Classification.model_validate_json(stored) == TASK


def test_tasks_of_the_same_classes_do_not_differ() -> None:
    """Models of two tasks can be compared row by row if the classes and their order are the same."""
    assert TASK.difference_from(Classification(classes=TASK.classes)) is None


@pytest.mark.parametrize("classes", [("green", "red", "blue"), ("red", "green"), ("red", "green", "blue", "white")])
def test_tasks_of_other_classes_differ(classes: tuple[str, ...]) -> None:
    """Other classes, fewer, more, and the same in another order are a difference, and both tasks' classes are named."""
    difference = TASK.difference_from(Classification(classes=classes))
    assert difference == f"other classes ({', '.join(classes)}) than the champion (red, green, blue)"


def test_difference_names_at_most_five_classes() -> None:
    """A task of many classes doesn't make the message long."""
    many = Classification(classes=tuple(map(str, range(1000))))
    assert TASK.difference_from(many) == "other classes (0, 1, 2, 3, 4, …) than the champion (red, green, blue)"
