"""Linear models: a weighted sum of the columns."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tabserve.model import Matrix
from tabserve.model.compiled import Compiled, Linear
from tabserve.training.estimators.family import Axis, Family, Range
from tabserve.training.preprocessing import PreparedColumns


class LinearFamily(Family):
    defaults: ClassVar[Mapping[str, Any]] = {"max_iter": 1000}  # scikit-learn's 100 steps often don't reach the end
    space: ClassVar[Mapping[str, Axis]] = {"C": Range(1e-3, 1e3, first=1.0)}
    is_linear = True

    def describe_fit(self, estimator: Any) -> str:
        return f"a linear model in {int(estimator.n_iter_.max())} steps"

    def importances(self, estimator: Any) -> tuple[str, Matrix]:
        """The share of each column in the sum of the absolute coefficients. The columns are scaled."""
        sizes = np.abs(np.atleast_2d(estimator.coef_)).sum(axis=0, keepdims=True)
        return "coefficient", sizes / (sizes.sum() or 1.0)

    def compile(self, estimator: Any, columns: PreparedColumns, outputs: int) -> Compiled:
        coefficients = np.atleast_2d(estimator.coef_)
        scores, width = coefficients.shape
        zeros = outputs - scores
        weights = np.column_stack([np.zeros((width, zeros)), coefficients.T])
        start = np.append(np.zeros(zeros), estimator.intercept_)
        return Linear(columns.inputs, start, columns.mean, columns.scale, np.ascontiguousarray(weights))


LINEAR = LinearFamily()


class RidgeFamily(LinearFamily):
    defaults: ClassVar[Mapping[str, Any]] = {}
    space: ClassVar[Mapping[str, Axis]] = {"alpha": Range(1e-3, 1e4, first=1.0)}

    def describe_fit(self, _estimator: Any) -> str:
        return "a linear model"


RIDGE = RidgeFamily()
