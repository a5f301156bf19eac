"""Arrow streams as bodies of requests."""

from typing import Any

import pyarrow as pa
from starlette.testclient import TestClient

from tabserve.web.codecs import ARROW

ROWS_PER_RECORD_BATCH = 1000


def stream(rows: pa.Table, **options: Any) -> bytes:
    """The table as an Arrow stream of several record batches; `options` are those of `pa.ipc.IpcWriteOptions`."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(rows, max_chunksize=ROWS_PER_RECORD_BATCH)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def post(client: TestClient, body: bytes) -> Any:
    """The reply to the stream as a batch."""
    return client.post("/predict/batch", content=body, headers={"Content-Type": ARROW})
