"""The schema: what a model takes and gives."""

import numpy as np

from tabserve.model.schema import Schema
from tests.support.models import Trained


def test_what_was_asked_of_a_schema_changes_nothing(trained: Trained) -> None:
    """Two schemas of the same fields, as every retraining makes them, stay equal and one key, whatever was asked of
    them before."""
    one, other = (Schema.model_validate_json(trained.schema.model_dump_json()) for _ in range(2))
    for schema in (one, other):
        assert schema.feature_names
        assert schema.rows_with_warnings(np.full((1, 4), 99.0)) == [0]
        assert schema.warnings([99.0] * 4)
        assert len(schema.computable_bounds.lowest) == 4
        assert one == other
    assert len({one, other}) == 1
