"""The table in memory, and its split."""

import pytest

from tabserve.errors import DataError
from tabserve.training import dataset
from tests.support.models import classes_of


def test_iris_is_the_known_table() -> None:
    """Iris has 150 rows, four lengths named after what was measured, and three species of 50 rows."""
    iris = dataset.load_iris()
    assert list(iris.features.columns) == ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    assert classes_of(iris.task) == ("setosa", "versicolor", "virginica")
    assert iris.target.value_counts().tolist() == [50, 50, 50]
    assert iris.features.iloc[0].tolist() == [5.1, 3.5, 1.4, 0.2]


def test_digest_changes_with_a_single_value() -> None:
    """The digest is the same for the same table, and another if a single value differs."""
    table, changed = dataset.load_iris(), dataset.load_iris()
    assert table.digest == changed.digest
    changed.features.iloc[7, 2] = 9.9
    assert table.digest != changed.digest


def test_digest_does_not_depend_on_how_many_rows_are_hashed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is hashed in parts has the digest of the same table hashed at once."""
    whole = dataset.load_iris().digest
    monkeypatch.setattr(dataset, "HASHED_ROWS", 40)
    assert dataset.load_iris().digest == whole


def test_split_is_stratified_and_repeatable() -> None:
    """Both parts have every class in the shares of the table and share no row; the same seed gives the same parts."""
    table = dataset.load_iris()
    parts = dataset.split(table, 0.2, seed=1)
    assert parts.held_out.target.value_counts().tolist() == [10, 10, 10]
    assert len(parts.training) == 120
    assert not set(parts.training.features.index) & set(parts.held_out.features.index)
    assert parts.held_out.features.equals(dataset.split(table, 0.2, seed=1).held_out.features)
    assert not parts.held_out.features.equals(dataset.split(table, 0.2, seed=2).held_out.features)


@pytest.mark.parametrize("test_size", [0.001, 0.999])
def test_split_that_loses_a_class_is_refused(test_size: float) -> None:
    """A share that leaves a part without one of the classes is refused, with the share in the message."""
    with pytest.raises(DataError, match=f"test size {test_size:g} can't split 150 rows"):
        dataset.split(dataset.load_iris(), test_size, seed=1)
