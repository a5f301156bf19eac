"""Encodes batch replies as Arrow IPC streams.

Only the values differ between replies of the same size. So Arrow writes one reply of zeros, which is cached, and the
values are put into its frame. Writing takes Arrow five times as long. pyarrow is imported for the first reply.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tabserve.inference import BatchPrediction
from tabserve.model import Labels, Task
from tabserve.model.task import Column, LabelSets
from tabserve.web.codecs.json_replies import batch_head, batch_warnings, encode

if TYPE_CHECKING:
    import pyarrow as pa

METADATA_STEP = 256
"""The metadata of a reply is padded with blanks to a multiple of this many bytes: few lengths need few frames."""

END = b"\xff\xff\xff\xff\0\0\0\0"
"""The last bytes of a stream."""


def encode_arrow_batch(batch: BatchPrediction) -> bytes:
    """The columns of the JSON reply; a set of labels is a boolean for each label. The rest of the reply is JSON in the
    metadata of the stream's schema, under `batch`."""
    metadata = encode({**batch_head(batch), "warnings": batch_warnings(batch)})
    metadata = metadata.ljust(-(-len(metadata) // METADATA_STEP) * METADATA_STEP)  # blanks after JSON are JSON
    before, after = _frame(batch.schema.task, len(batch), len(metadata))
    arrays = [_stored(column) for column in batch.outcomes.columns().values()]
    parts = (part for array in arrays for part in (array.tobytes(), bytes(-array.nbytes % 8)))
    return b"".join((before, metadata, after, *parts, END))


@lru_cache(maxsize=64)
def _frame(task: Task, rows: int, metadata: int) -> tuple[bytes, bytes]:
    """The bytes before `metadata` bytes of JSON, and those between them and the values of `rows` rows."""
    import pyarrow as pa

    columns = task.decide_rows(np.zeros((rows, task.outputs))).columns()
    mark = b"x" * metadata
    batch = pa.RecordBatch.from_arrays([_arrow(column) for column in columns.values()], list(columns))
    batch = batch.replace_schema_metadata({"batch": mark})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    content: bytes = sink.getvalue().to_pybytes()
    before, _, after = content.partition(mark)
    values = sum(array.nbytes + -array.nbytes % 8 for array in map(_stored, columns.values()))
    return before, after[: len(after) - values - len(END)]


def _stored(column: Column) -> NDArray[Any]:
    """The values of a column as Arrow stores them."""
    if isinstance(column, Labels):
        return column.codes.astype(np.int32)
    if isinstance(column, LabelSets):
        column = column.members
    if column.dtype.kind == "b":
        return np.packbits(column.astype(np.bool_).ravel(), bitorder="little")
    return column.astype(np.int64, copy=False) if column.dtype.kind == "i" else column


def _arrow(column: Column) -> "pa.Array":
    import pyarrow as pa

    if isinstance(column, Labels):
        return pa.DictionaryArray.from_arrays(pa.array(_stored(column)), pa.array(column.names))
    if isinstance(column, LabelSets):
        column = column.members
    if column.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(column.ravel()), column.shape[1])
    return pa.array(column if column.dtype.kind == "b" else _stored(column))
