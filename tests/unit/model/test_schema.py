"""The schema: the features of a model and its task."""

import numpy as np

from tabserve.model import Schema
from tests.support.models import Trained


def test_cached_properties_do_not_change_equality(trained: Trained) -> None:
    """Two schemas with the same fields, as every retraining makes them, are equal and have the same hash, before and
    after their cached properties are computed."""
    schema, same_schema = (Schema.model_validate_json(trained.schema.model_dump_json()) for _ in range(2))
    for asked in (schema, same_schema):
        assert asked.feature_names
        assert asked.rows_with_warnings(np.full((1, 4), 99.0)) == [0]
        assert asked.warnings([99.0] * 4)
        assert len(asked.computable_bounds.lowest) == 4
        assert schema == same_schema
    assert len({schema, same_schema}) == 1
