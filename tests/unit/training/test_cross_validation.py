"""Cross-validation: that of scikit-learn, with everything fitted inside the folds."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from tabserve.errors import DataError
from tabserve.training import EstimatorConfig, fitting
from tabserve.training.cross_validation import cross_validate
from tests.support.models import Trained

FEW_TREES = EstimatorConfig(hyperparameters={"n_estimators": 5})


def test_scaling_is_fitted_inside_the_folds(trained: Trained) -> None:
    """The outputs for each row are those of scikit-learn's own cross-validation of the whole pipeline."""
    training = trained.parts.training
    ours = cross_validate(training, FEW_TREES, folds=4, seed=5)
    pipeline = fitting.fit(training, FEW_TREES, seed=5)
    splitter = StratifiedKFold(4, shuffle=True, random_state=5)
    theirs = cross_val_predict(pipeline, training.features, training.target, cv=splitter, method="predict_proba")
    assert np.array_equal(ours.outputs, theirs)
    assert {len(values) for values in ours.folds.values()} == {4}


def test_more_folds_than_rows_of_a_class_are_refused(trained: Trained) -> None:
    """If a class has too few rows for the folds, the message says how many it has."""
    with pytest.raises(DataError, match="the rarest has 40"):
        cross_validate(trained.parts.training, FEW_TREES, folds=41, seed=0)
