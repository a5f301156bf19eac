"""The schema is that of the training rows."""

import numpy as np

from tabserve.model import Number
from tests.support.models import Trained, classes_of


def test_schema_has_the_ranges_of_the_training_rows(trained: Trained) -> None:
    """Ranges are those of the training rows, and every value inside the bounds can be scaled in float32."""
    for feature in trained.schema.features:
        assert isinstance(feature, Number)
        column = trained.parts.training.features[feature.name]
        assert (feature.minimum, feature.maximum) == (column.min(), column.max())
        assert feature.lowest < feature.minimum
        assert feature.highest > feature.maximum
    scaler = trained.pipeline.named_steps["scaler"]
    for bound in ("lowest", "highest"):
        row = np.array([getattr(feature, bound) for feature in trained.schema.features])
        assert np.isfinite(((row - scaler.mean_) / scaler.scale_).astype(np.float32)).all()


def test_schema_has_the_classes_in_the_order_of_the_probabilities(trained: Trained) -> None:
    """The classes of the schema are those of the fitted pipeline, in the same order."""
    assert classes_of(trained.schema.task) == tuple(trained.pipeline.classes_)
