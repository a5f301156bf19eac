"""Values that are probably the same, written in two ways."""

import pandas as pd

from tabserve.reporting import dataset_warnings
from tabserve.training import task_training
from tabserve.training.dataset import Dataset
from tabserve.training.lookalikes import find_lookalikes


def dataset(target: list[str], **columns: list[object]) -> Dataset:
    classes = pd.Series(target, dtype=object, name="kind")
    features = pd.DataFrame({name: pd.Series(values) for name, values in columns.items()})
    return Dataset("t", features, classes, task_training("classification").model_task(classes))


def test_values_that_differ_in_case_space_or_spelling_of_a_number_look_alike() -> None:
    """Classes and categories; missing values and columns of numbers are no texts."""
    table = dataset(["Yes", "yes ", "no", "No"], code=["1", "1.0", "01", None], size=[1.0, 2.0, 3.0, 4.0])
    assert find_lookalikes(table) == {"kind": [["Yes", "yes "], ["No", "no"]], "code": [["01", "1", "1.0"]]}
    assert find_lookalikes(dataset(["a", "b"], code=["x", "y"])) == {}


def test_warning_names_them() -> None:
    """A line for each column."""
    warnings = dataset_warnings(dataset(["Yes", "yes "] * 20, z=["p", "q"] * 20), {})
    assert (
        "warning: kind has values that look alike: 'Yes' and 'yes '. If they mean the same, repair the table"
        in warnings
    )
