"""A running API's newest predictions, answered again by another version: what would change, and how fast it is."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from tabserve.cli.tables import aligned
from tabserve.errors import TabserveError
from tabserve.model import Predictor, RegisteredVersion, Value
from tabserve.monitoring import compare_outputs, median_latencies

if TYPE_CHECKING:
    from tabserve.registry import Registry


@dataclass(frozen=True)
class Words:
    """How a comparison of two models speaks of one kind of task.

    Attributes:
        changed: what a row gets if the two differ.
        outputs: what moves.
        distance: what is measured of that.
        answer: a decision in cells of a table.
    """

    changed: str
    outputs: str
    distance: str
    answer: Callable[[Any], list[str]]


WORDS: Mapping[str, Words] = {
    "classification": Words(
        "another class",
        "probabilities",
        "total variation distance",
        lambda outcome: [outcome.label, f"{outcome.confidence:.3f}"],
    ),
    "regression": Words(
        "another number",
        "numbers",
        "as a share of the target's spread; another number is more than 0.01 away",
        lambda outcome: [f"{outcome.prediction:g}"],
    ),
}
"""Kind of task → its words."""


@dataclass(frozen=True)
class RecordedPrediction:
    """What is needed of an entry of the API's history."""

    prediction_id: str
    model_version: str
    timestamp: str
    inputs: dict[str, Value]


@dataclass(frozen=True)
class RecordedHistory:
    """What is needed of the reply of `/predictions/history`."""

    predictions: list[RecordedPrediction]


def compare(registry: "Registry", version: RegisteredVersion, url: str, limit: int | None) -> str:
    """Compares the version with the live one on the newest predictions of the API at `url`. The text for a terminal
    shows at most `limit` of the rows that would get another prediction.

    Raises:
        TabserveError: the two can't be compared, no API answers there, or it has no predictions of these features.
    """
    live, candidate = Predictor(registry.fetch(registry.champion())), Predictor(registry.fetch(version))
    if reason := live.schema.incompatibility(candidate.schema):
        raise TabserveError(f"version {version.registry_version} can't be compared: {reason}")
    answered = fetch_history(url)
    recorded = [prediction for prediction in answered if live.schema.fits(prediction.inputs)]
    if not recorded:
        raise TabserveError(f"{url} has no predictions of these features yet: there is nothing to compare on")
    live_rows, candidate_rows = (
        np.array([model.schema.row(prediction.inputs) for prediction in recorded]) for model in (live, candidate)
    )
    ours, theirs = live.outputs(live_rows), candidate.outputs(candidate_rows)
    task, words = live.schema.task, WORDS[live.schema.task.kind]
    difference = compare_outputs(task, ours, candidate.schema.task, theirs)
    changed, distance, count = np.flatnonzero(difference.changed), difference.distance, len(recorded)
    candidate_seconds, live_seconds = median_latencies(
        [(candidate.row_outputs, candidate_rows), (live.row_outputs, live_rows)]
    )
    versions = Counter(prediction.model_version for prediction in recorded)
    made_by = ", ".join(f"{number} by {model_version}" for model_version, number in versions.items())
    left_out = f"; left out: {len(answered) - count}, of other features" if count < len(answered) else ""
    summary = (
        f"version {version.registry_version} ({candidate.model_version}) against {live.model_version}, which is live, "
        f"on the newest {count} predictions of {url}\n"
        f"  they were made  {made_by}{left_out}\n"
        f"  {words.changed:14}  {len(changed)} of {count} ({len(changed) / count:.1%})\n"
        f"  {words.outputs:14}  moved by {distance.mean():.4f} in the mean, {distance.max():.4f} at most "
        f"({words.distance})\n"
        f"  latency, a row  {candidate_seconds * 1e6:.1f} µs against {live_seconds * 1e6:.1f} µs, the model alone"
    )
    if not len(changed):
        return summary
    farthest_first = changed[np.argsort(-distance[changed], kind="stable")]
    names = live.feature_names
    blank = [""] * (len(words.answer(task.decide(ours[0].tolist()))) - 1)
    lines = [["answered (UTC)", "prediction", *names, "live", *blank, "candidate", *blank, "moved"]]
    for row in farthest_first[:limit]:
        prediction, answers = recorded[row], []
        for outputs in (ours[row], theirs[row]):
            answers += words.answer(task.decide(outputs.tolist()))
        when = prediction.timestamp[:19].replace("T", " ")
        features = [_cell(prediction.inputs.get(name)) for name in names]
        lines.append([when, prediction.prediction_id, *features, *answers, f"{distance[row]:.3f}"])
    hidden = len(changed) - len(lines) + 1
    more = f"\nleft out: {hidden}; --all shows them" if hidden else ""
    return f"{summary}\n\nwould get {words.changed}, the farthest first:\n{aligned(lines)}{more}"


def _cell(value: Value) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def fetch_history(url: str) -> list[RecordedPrediction]:
    """The newest predictions of the API at this address.

    Raises:
        TabserveError: no such API is there.
    """
    import requests

    try:
        response = requests.get(f"{url}/predictions/history", params={"limit": "1000"}, timeout=30)
        if response.status_code != 200:
            status = response.status_code
            raise TabserveError(f"{url}/predictions/history answers with status {status}: name another API by --url")
        return TypeAdapter(RecordedHistory).validate_json(response.content).predictions
    except requests.RequestException as error:
        raise TabserveError(f"no API answers at {url}: start it, or name another one by --url") from error
    except ValidationError as error:
        raise TabserveError(f"what answers at {url} is no API of this project: name another one by --url") from error
