"""The table and its split."""

import pytest

from tabserve.errors import DataError
from tabserve.training import dataset


def test_iris_is_the_known_table() -> None:
    """Iris has 150 rows, four lengths named after what was measured, and three species of 50 rows."""
    table = dataset.load_iris()
    assert list(table.features.columns) == ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    assert table.classes == ["setosa", "versicolor", "virginica"]
    assert table.target.value_counts().tolist() == [50, 50, 50]
    assert table.features.iloc[0].tolist() == [5.1, 3.5, 1.4, 0.2]


def test_the_digest_tells_tables_apart() -> None:
    """The digest is the same for the same table, and another once a single value differs."""
    table, other = dataset.load_iris(), dataset.load_iris()
    assert table.digest == other.digest
    other.features.iloc[7, 2] = 9.9
    assert table.digest != other.digest


def test_the_split_is_stratified_and_repeatable() -> None:
    """Both parts hold every class in the table's shares and share no row; the same seed gives the same parts."""
    table = dataset.load_iris()
    parts = dataset.split(table, 0.2, seed=1)
    assert parts.held_out.target.value_counts().tolist() == [10, 10, 10]
    assert len(parts.training) == 120
    assert not set(parts.training.features.index) & set(parts.held_out.features.index)
    assert parts.held_out.features.equals(dataset.split(table, 0.2, seed=1).held_out.features)
    assert not parts.held_out.features.equals(dataset.split(table, 0.2, seed=2).held_out.features)


@pytest.mark.parametrize("test_size", [0.001, 0.999])
def test_a_split_that_loses_a_class_is_refused(test_size: float) -> None:
    """A share that leaves a part without one of the classes is refused in the domain's words."""
    with pytest.raises(DataError, match="can't split 150 rows"):
        dataset.split(dataset.load_iris(), test_size, seed=1)
