# /// script
# requires-python = ">=3.11"
# dependencies = ["pyarrow", "requests"]
# ///
"""Scores a Parquet file with a running server, and writes the predictions to another Parquet file.

    python api.py                                                        in one terminal
    python examples/parquet_batch.py rows.parquet predictions.parquet    in another one

Reads the file in pieces, so its size doesn't matter, and sends each piece as an Arrow stream to `/predict/batch`, the
fastest way for many rows. The input needs a column for each feature of the model; other columns are not sent. The
output has the rows in the same order: prediction, label, confidence, prediction_proba, model_version. It appears only
when all rows are scored. Any model is served alike: the features are asked from `/model/info`.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import requests

ARROW = "application/vnd.apache.arrow.stream"


class ScoringError(Exception):
    """The file can't be scored; the message says why."""


def features_of(session: requests.Session, url: str) -> dict[str, Any]:
    """The features of the served model: name → what `/model/info` says of it."""
    response = session.get(f"{url}/model/info", timeout=30)
    if response.status_code != 200:
        raise ScoringError(f"{url}/model/info answers with status {response.status_code}: {response.text[:300]}")
    return {feature["name"]: feature for feature in response.json()["features"]}


def score(session: requests.Session, url: str, rows: pa.Table) -> pa.Table:
    """The predictions for these rows, one a row."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    body = sink.getvalue().to_pybytes()
    response = session.post(f"{url}/predict/batch", data=body, headers={"Content-Type": ARROW}, timeout=300)
    if response.status_code != 200:
        raise ScoringError(f"status {response.status_code}: {response.text[:1000]}")
    answers = pa.ipc.open_stream(response.content).read_all()
    once = json.loads(answers.schema.metadata[b"batch"])  # what is the same for all rows: batch_id, model_version, …
    answers = answers.set_column(answers.schema.get_field_index("label"), "label", answers["label"].cast(pa.string()))
    version = pa.array([once["model_version"]] * len(answers))
    return answers.append_column("model_version", version).replace_schema_metadata(None)


def pieces(source: Path, features: dict[str, Any], rows: int) -> Iterator[pa.Table]:
    """The columns that the model needs, so many rows at a time. The server takes them in their own types; only
    categories may be numbers in the file, and are sent as texts."""
    file = pq.ParquetFile(source)
    names = [name for name in features if name in file.schema_arrow.names]
    if missing := [name for name in features if name not in names and not features[name]["missing"]]:
        raise ScoringError(f"{source} has no column {', '.join(missing)}; the model needs it")
    for batch in file.iter_batches(rows, columns=names):
        table = pa.Table.from_batches([batch])
        categories = {name for name in names if features[name]["kind"] == "category"}
        types = {name: pa.string() if name in categories else table.schema.field(name).type for name in names}
        yield table.select(names).cast(pa.schema([(name, types[name]) for name in names]))


def main() -> int:
    parser = argparse.ArgumentParser(description="Score a Parquet file with a running server.")
    parser.add_argument("source", type=Path, help="Parquet file with a column for each feature")
    parser.add_argument("target", type=Path, help="Parquet file to write the predictions to")
    parser.add_argument("--url", default="http://localhost:8000", help="address of the server (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=10_000, help="rows of a request (default: %(default)s)")
    options = parser.parse_args()
    url, partial = options.url.rstrip("/"), options.target.with_name(f".{options.target.name}.partial")

    scored, writer = 0, None
    try:
        with requests.Session() as session:
            for rows in pieces(options.source, features_of(session, url), options.rows):
                answers = score(session, url, rows)
                writer = writer or pq.ParquetWriter(partial, answers.schema)
                writer.write_table(answers)
                scored += len(answers)
        if writer is None:
            raise ScoringError(f"{options.source} has no rows")
        writer.close()
        partial.replace(options.target)
    except (ScoringError, requests.RequestException, pa.ArrowException, OSError) as error:
        print(f"parquet_batch.py: row {scored} and on are not scored: {error}", file=sys.stderr)
        return 1
    finally:
        if writer:
            writer.close()
        partial.unlink(missing_ok=True)
    print(f"{scored} rows scored: {options.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
