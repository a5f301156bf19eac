"""Leakage: features that know the target are found, and others are not."""

from dataclasses import replace

import numpy as np
import pandas as pd

from tabserve.training import dataset, task_training
from tabserve.training.dataset import Dataset
from tabserve.training.leakage import find_leakage

ROWS = 40_000


def rare_class(**features: pd.Series) -> Dataset:
    """A table in which 7 of 40,000 rows have the class "yes", with two features of noise, and more."""
    rng = np.random.default_rng(0)
    noise = pd.DataFrame(rng.normal(size=(ROWS, 2)), columns=["a", "b"])
    target = pd.Series(np.where(np.arange(ROWS) < 7, "yes", "no"), name="rare", dtype="str")
    return Dataset("noise", noise.assign(**features), target, task_training("classification").model_task(target))


def test_feature_made_from_the_class_is_found() -> None:
    """A feature that is made from the class is found, whether it is a number or a category; no feature of Iris is."""
    iris = dataset.load_iris()
    assert find_leakage(iris, 0) == {}
    number = iris.target.map({"setosa": 0.1, "versicolor": 0.7, "virginica": 0.3})
    category = iris.target.str[:3].astype("str")
    leaking = replace(iris, features=iris.features.assign(number=number, category=category))
    assert find_leakage(leaking, 0) == {"number": 1.0, "category": 1.0}


def test_feature_made_from_a_rare_class_is_found() -> None:
    """A feature that is made from a class with few rows is found, and noise is not."""
    assert find_leakage(rare_class(), 0) == {}
    leaking = rare_class(c=pd.Series(np.arange(ROWS) < 7).astype(float))
    assert find_leakage(leaking, 0) == {"c": 1.0}


def test_nothing_is_found_if_only_one_class_has_enough_rows() -> None:
    """With two rows of the rare class left, nothing can be measured, and nothing is reported."""
    leaking = rare_class(c=pd.Series(np.arange(ROWS) < 7).astype(float))
    assert find_leakage(leaking.part(np.arange(5, ROWS)), 0) == {}
