"""Says which version is live, changes it, and helps to decide.

    python promote_model.py                           lists the versions
    python promote_model.py 3 --why "passed review"   makes version 3 live; 20241201_143022 names it too
    python promote_model.py --rollback                makes the one live that was before
    python promote_model.py --challenger 4            marks a candidate
    python promote_model.py --compare 4               what it would have answered to what was answered last
    python promote_model.py --prune --keep 10         removes old versions
    python promote_model.py --journal                 every move so far: when, who, what, why

A running server follows within seconds. A version is verified before it becomes live: its release is as it was
registered, and gives the probabilities that it must.
"""

import argparse
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

try:
    import numpy as np

    from tabserve.cli import addresses
    from tabserve.errors import TabserveError
    from tabserve.model.schema import Value
    from tabserve.monitoring import comparison
    from tabserve.registry import journal
    from tabserve.settings import Settings
    from tabserve.store_uri import store_folder
except ModuleNotFoundError as error:
    sys.exit(f"promote_model.py: {error}. Enter the project's environment: `. .venv/bin/activate` (README, 'Start')")

if TYPE_CHECKING:
    from tabserve.model.versions import Deployment, RegisteredVersion
    from tabserve.registry.registry import ListedVersion, Store

ROOT = Path(__file__).resolve().parent

METRICS = ("test_accuracy", "test_f1_macro", "test_log_loss")
"""What the list shows of a version's run."""


SHOWN = 30
"""How many lines a table shows unless all are wanted. Of versions, the metrics are asked for one by one."""


@dataclass(frozen=True)
class Recorded:
    """What is wanted of an entry of the API's history."""

    prediction_id: str
    model_version: str
    timestamp: str
    inputs: dict[str, Value]


@dataclass(frozen=True)
class History:
    predictions: list[Recorded]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        usage="python promote_model.py [VERSION --why TEXT | --rollback | --challenger VERSION | …] [options]",
        description="List the versions of the model, and say which is live.",
        epilog="VERSION is a number of the registry, like 3, or a model version, like 20241201_143022.",
    )
    parser.add_argument("version", nargs="?", metavar="VERSION", help="make this version live")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--rollback", action="store_true", help="make the version live that was before this one")
    action.add_argument("--challenger", metavar="VERSION", help="mark this version as the one to watch")
    action.add_argument("--no-challenger", action="store_true", help="mark none")
    action.add_argument("--journal", action="store_true", help="show every move so far, the newest first")
    action.add_argument(
        "--compare",
        metavar="VERSION",
        help="answer a running API's newest predictions again, and show what changes",
    )
    action.add_argument(
        "--prune", action="store_true",
        help="remove old versions from the artifacts, but none with an alias, and not what a rollback leads to",
    )  # fmt: skip
    parser.add_argument("--all", action="store_true", help=f"show all versions, or rows, not {SHOWN} only")
    parser.add_argument("--keep", type=whole, metavar="N", help="with --prune: how many of the newest stay, besides")
    parser.add_argument("--registry", action="store_true", help="with --prune: remove them from MLflow, too")
    parser.add_argument("--url", metavar="URL", help="with --compare: address of the API (default: the settings)")
    parser.add_argument("--why", metavar="TEXT", help="the reason, for the journal")
    parser.add_argument("--model-name", metavar="NAME", help="registered model (default: the setting)")
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow store (default: the setting)")
    options = parser.parse_args(argv)
    moves = options.rollback or options.challenger is not None or options.no_challenger
    others = moves or options.journal or options.compare is not None or options.prune
    if options.version and (others or options.all):
        parser.error("argument VERSION: give it alone, to make it live")
    if options.version and not (options.why and options.why.strip()):
        parser.error('argument --why: say why it should be live, as in --why "passed review"; it goes into the journal')
    if options.why and not (options.version or moves):
        parser.error("argument --why: there is no move to give a reason for")
    if options.prune != (options.keep is not None):
        parser.error("arguments --prune and --keep: give both, as in --prune --keep 10")
    for given, name, wanted, needed in (
        (options.registry, "--registry", options.prune, "--prune"),
        (options.url, "--url", options.compare is not None, "--compare"),
        (options.all, "--all", options.compare is not None or not others, "--compare, or nothing"),
    ):
        if given and not wanted:
            parser.error(f"argument {name}: it goes with {needed}")
    return options


def whole(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10**6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {10**6}")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    from tabserve.registry.registry import Store

    try:
        settings = Settings.load(ROOT, model_name=options.model_name, tracking_uri=options.tracking_uri)
        run(Store(settings), options, options.url or addresses.client_url(settings.host, settings.port))
    except (TabserveError, OSError) as error:
        print(f"promote_model.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("promote_model.py: interrupted; `python promote_model.py` says what is live", file=sys.stderr)
        return 130
    return 0


def run(store: "Store", options: argparse.Namespace, url: str) -> None:
    versions = store.versions()
    if options.version is not None:
        promote(store, named(versions, options.version), options.why)
    elif options.rollback:
        roll_back(store, versions, options.why)
    elif options.challenger is not None:
        challenge(store, named(versions, options.challenger), options.why)
    elif options.no_challenger:
        if any(store.challenger_alias in listed.aliases for listed in versions):
            said(store.move(store.challenger_alias, None, options.why or "no longer a candidate"), versions)
        else:
            print("no version is marked as the challenger")
    elif options.compare is not None:
        compare(store, named(versions, options.compare), url.rstrip("/"), None if options.all else SHOWN)
    elif options.prune:
        prune(store, options.keep, registry=options.registry)
    elif options.journal:
        print(journal_table(store.sync(), versions))
    else:
        shown = versions if options.all else versions[:SHOWN]
        metrics = [store.metrics(listed.version) for listed in shown]
        print(version_table(shown, metrics, store.sync(), store.alias))
        if len(versions) > len(shown):
            print(f"older, left out: {len(versions) - len(shown)}; `python promote_model.py --all` lists them")


def named(versions: "Sequence[ListedVersion]", name: str) -> "ListedVersion":
    """The version of this number or model version.

    Raises:
        TabserveError: there is none.
    """
    for listed in versions:
        if name in (listed.version.registry_version, listed.version.model_version):
            return listed
    known = ", ".join(listed.version.registry_version for listed in versions[:10])
    raise TabserveError(f"there is no version {name!r}. The newest are {known}; `python promote_model.py` lists all")


def promote(store: "Store", chosen: "ListedVersion", why: str, *, rollback: bool = False) -> None:
    if store.alias in chosen.aliases:
        print(f"version {chosen.version.registry_version} ({chosen.version.model_version}) is live already")
        return
    verify(store, chosen.version)
    said(store.move(store.alias, chosen.version, why, rollback=rollback), [chosen])


def verify(store: "Store", version: "RegisteredVersion") -> None:
    """Raises ReleaseError if the release isn't what was registered, or can't be served."""
    from tabserve.model.predictor import Predictor

    Predictor(store.fetch(version))


def challenge(store: "Store", chosen: "ListedVersion", why: str | None) -> None:
    for alias, what in ((store.alias, "live: a challenger is another one"), (store.challenger_alias, "it already")):
        if alias in chosen.aliases:
            print(f"version {chosen.version.registry_version} ({chosen.version.model_version}) is {what}")
            return
    said(store.move(store.challenger_alias, chosen.version, why or "a candidate to watch"), [chosen])


def roll_back(store: "Store", versions: "Sequence[ListedVersion]", why: str | None) -> None:
    moves = store.sync()
    known = {listed.version.registry_version: listed for listed in versions}
    targets = [known[number] for number in journal.previous(moves, store.alias) if number in known]
    if not targets:
        raise TabserveError(f"there is nothing to go back to: no other version had '{store.alias}' before this one")
    promote(store, targets[0], why or "rollback", rollback=True)


def compare(store: "Store", chosen: "ListedVersion", url: str, most: int | None) -> None:
    """Prints what a version would have answered to what a running API answered last, against what is live."""
    from tabserve.model.predictor import Predictor

    live, candidate = Predictor(store.fetch(store.champion())), Predictor(store.fetch(chosen.version))
    if reason := live.schema.incompatibility(candidate.schema):
        raise TabserveError(f"version {chosen.version.registry_version} can't be compared: {reason}")
    answered = history(url)
    recorded = [entry for entry in answered if live.schema.fits(entry.inputs)]
    if not recorded:
        raise TabserveError(f"{url} has no predictions of these features yet: there is nothing to compare on")
    versions = Counter(entry.model_version for entry in recorded)
    by_whom = ", ".join(f"{number} by {version}" for version, number in versions.items())
    left_out = f"; left out: {len(answered) - len(recorded)}, of other features" * (len(recorded) < len(answered))
    rows, other = (np.array([one.schema.row(entry.inputs) for entry in recorded]) for one in (live, candidate))
    ours, theirs = live.outputs(rows), candidate.outputs(other)
    found = comparison.difference(ours, theirs)
    changed, count = np.flatnonzero(found.changed), len(rows)
    candidate_takes, live_takes = comparison.latencies([(candidate.row_outputs, other), (live.row_outputs, rows)])
    print(
        f"version {chosen.version.registry_version} ({candidate.model_version}) against {live.model_version}, which is "
        f"live, on the newest {count} predictions of {url}\n"
        f"  they were made  {by_whom}{left_out}\n"
        f"  another class   {len(changed)} of {count} ({len(changed) / count:.1%})\n"
        f"  probabilities   moved by {found.distance.mean():.4f} in the mean, {found.distance.max():.4f} at most "
        "(total variation distance)\n"
        f"  latency, a row  {candidate_takes * 1e6:.1f} µs against {live_takes * 1e6:.1f} µs, the model alone"
    )
    if not len(changed):
        return
    lines = [["answered (UTC)", "prediction", *live.feature_names, "live", "", "candidate", "", "moved"]]
    order = changed[np.argsort(-found.distance[changed], kind="stable")]
    for at in order[:most]:
        entry, cells = recorded[at], []
        for shares in (ours[at], theirs[at]):
            cells += [live.schema.task.classes[shares.argmax()], f"{shares.max():.3f}"]
        when = entry.timestamp[:19].replace("T", " ")
        lines.append(
            [
                when,
                entry.prediction_id,
                *(shown(entry.inputs.get(name)) for name in live.feature_names),
                *cells,
                f"{found.distance[at]:.3f}",
            ]
        )
    print(f"\nwould get another class, the farthest first:\n{aligned(lines)}")
    if len(order) > len(lines) - 1:
        print(f"left out: {len(order) - len(lines) + 1}; --all shows them")


def shown(value: Value) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:g}"


def history(url: str) -> "list[Recorded]":
    """What the API at this address has in its history.

    Raises:
        TabserveError: there is no such API.
    """
    import requests
    from pydantic import TypeAdapter, ValidationError

    try:
        response = requests.get(f"{url}/predictions/history", params={"limit": "1000"}, timeout=30)
        if response.status_code != 200:
            status = response.status_code
            raise TabserveError(f"{url}/predictions/history answers with status {status}: name another API by --url")
        return TypeAdapter(History).validate_json(response.content).predictions
    except requests.RequestException as error:
        raise TabserveError(f"no API answers at {url}: start it, or name another one by --url") from error
    except ValidationError as error:
        raise TabserveError(f"what answers at {url} is no API of this project: name another one by --url") from error


def prune(store: "Store", keep: int, *, registry: bool) -> None:
    count = freed = 0
    for listed, size in store.prune(keep, registry=registry):
        count, freed = count + 1, freed + size
        version = listed.version
        print(f"removed version {version.registry_version} ({version.model_version}), {size / 1e6:.1f} MB")
    where = f"{store.artifacts}{' and MLflow' if registry else ''}"
    print(f"{count} version{'s' * (count != 1)} removed from {where}, {freed / 1e6:.1f} MB freed")
    if count and registry:
        opt_in = "MLFLOW_ALLOW_FILE_STORE=true " if store_folder(store.uri) else ""
        backend = "<its store>" if store.uri.startswith("http") else f"'{store.shown}'"
        print(
            "MLflow has marked their runs and models as deleted. Run where the store is, this removes them for good:\n"
            f"  {opt_in}mlflow gc --backend-store-uri {backend} --tracking-uri '{store.shown}'"
        )


def said(move: "Deployment", versions: "Sequence[ListedVersion]") -> None:
    names = {listed.version.registry_version: listed.version.model_version for listed in versions}
    if move.to is None:
        print(f"'{move.alias}' is on no version now; it was on {move.origin or 'none'} (move {move.number})")
        return
    before = f", in place of {move.origin}" if move.origin else ""
    print(f"'{move.alias}' is version {move.to} ({names[move.to]}){before}: {move.why} (move {move.number})")


def version_table(
    versions: "Sequence[ListedVersion]", metrics: Sequence[dict[str, float]], moves: "Sequence[Deployment]", alias: str
) -> str:
    latest = {move.to: move for move in moves if move.alias == alias}
    head = ["version", "model version", "registered (UTC)", *(name.removeprefix("test_") for name in METRICS)]
    lines = [[*head, "alias", "last made live"]]
    for listed, measured in zip(versions, metrics, strict=True):
        number = listed.version.registry_version
        values = [f"{measured[name]:.4f}" if name in measured else "" for name in METRICS]
        move = latest.get(number)
        live = f"{move.when[:16].replace('T', ' ')} by {move.who}: {move.why}" if move else ""
        aliases = ", ".join(f"{name} (live)" if name == alias else name for name in listed.aliases)
        created = f"{listed.created:%Y-%m-%d %H:%M}"
        lines.append([number, listed.version.model_version, created, *values, aliases, live])
    return aligned(lines)


def journal_table(moves: "Sequence[Deployment]", versions: "Sequence[ListedVersion]") -> str:
    names = {listed.version.registry_version: listed.version.model_version for listed in versions}
    lines = [["move", "when (UTC)", "alias", "from", "to", "model version", "who", "why"]]
    for move in reversed(moves):
        when = move.when[:19].replace("T", " ")
        who = f"{move.who}, rollback" if move.rollback else move.who
        name = names.get(move.to or "", "")
        lines.append([str(move.number), when, move.alias, move.origin or "-", move.to or "-", name, who, move.why])
    return aligned(lines)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(row.rstrip() for row in rows)


if __name__ == "__main__":
    sys.exit(main())
