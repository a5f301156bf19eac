"""Arrow streams as bodies."""

from typing import Any

import pyarrow as pa
from starlette.testclient import TestClient

from tabserve.web.codecs import ARROW


def stream(rows: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(rows, max_chunksize=1000)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def post(client: TestClient, body: bytes) -> Any:
    return client.post("/predict/batch", content=body, headers={"Content-Type": ARROW})
