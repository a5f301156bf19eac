"""Says which version is live, and changes it.

    python promote_model.py                           lists the versions
    python promote_model.py 3 --why "passed review"   makes version 3 live; 20241201_143022 names it too
    python promote_model.py --rollback                makes the one live that was before
    python promote_model.py --challenger 4            marks a candidate
    python promote_model.py --journal                 every move so far: when, who, what, why

A running server follows within seconds. A version is verified before it becomes live: its release is as it was
registered, and gives the probabilities that it must.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

try:
    from classifier import journal
    from classifier.errors import ClassifierError
    from classifier.settings import Settings
except ModuleNotFoundError as error:
    sys.exit(f"promote_model.py: {error}. Enter the project's environment: `. .venv/bin/activate` (README, 'Start')")

if TYPE_CHECKING:
    from classifier.journal import Move
    from classifier.release import RegisteredVersion
    from classifier.tracking import Listed, Store

METRICS = ("test_accuracy", "test_f1_macro", "test_log_loss")
"""What the list shows of a version's run."""

SHOWN = 30
"""How many versions the list shows: the metrics of each are asked for one by one."""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        usage="python promote_model.py [VERSION --why TEXT | --rollback | --challenger VERSION | --journal] [options]",
        description="List the versions of the model, and say which is live.",
        epilog="VERSION is a number of the registry, like 3, or a model version, like 20241201_143022.",
    )
    parser.add_argument("version", nargs="?", metavar="VERSION", help="make this version live")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--rollback", action="store_true", help="make the version live that was before this one")
    action.add_argument("--challenger", metavar="VERSION", help="mark this version as the one to watch")
    action.add_argument("--no-challenger", action="store_true", help="mark none")
    action.add_argument("--all", action="store_true", help=f"list all versions, not the newest {SHOWN} only")
    action.add_argument("--journal", action="store_true", help="show every move so far, the newest first")
    parser.add_argument("--why", metavar="TEXT", help="the reason, for the journal")
    parser.add_argument("--model-name", metavar="NAME", help="registered model (default: the setting)")
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow store (default: the setting)")
    options = parser.parse_args(argv)
    moves = options.rollback or options.challenger or options.no_challenger
    if options.version and (moves or options.journal or options.all):
        parser.error("argument VERSION: give it alone, to make it live")
    if options.version and not (options.why and options.why.strip()):
        parser.error('argument --why: say why it should be live, as in --why "passed review"; it goes into the journal')
    if options.why and not (options.version or moves):
        parser.error("argument --why: there is no move to give a reason for")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    from classifier.tracking import Store

    try:
        settings = Settings.load(model_name=options.model_name, tracking_uri=options.tracking_uri)
        run(Store(settings), options, settings.challenger_alias)
    except (ClassifierError, OSError) as error:
        print(f"promote_model.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("promote_model.py: interrupted; `python promote_model.py` says what is live", file=sys.stderr)
        return 130
    return 0


def run(store: "Store", options: argparse.Namespace, challenger: str) -> None:
    versions = store.versions()
    if options.version:
        promote(store, named(versions, options.version), options.why)
    elif options.rollback:
        roll_back(store, versions, options.why)
    elif options.challenger:
        chosen = named(versions, options.challenger)
        said(store.move(challenger, chosen.version, options.why or "a candidate to watch"), versions)
    elif options.no_challenger:
        said(store.move(challenger, None, options.why or "no longer a candidate"), versions)
    elif options.journal:
        print(journal_table(store.catch_up(store.alias), versions))
    else:
        shown = versions if options.all else versions[:SHOWN]
        metrics = [store.metrics(listed.version) for listed in shown]
        print(version_table(shown, metrics, store.catch_up(store.alias), store.alias))
        if len(versions) > len(shown):
            print(f"older, left out: {len(versions) - len(shown)}; `python promote_model.py --all` lists them")


def named(versions: "Sequence[Listed]", name: str) -> "Listed":
    """The version of this number or model version.

    Raises:
        ClassifierError: there is none.
    """
    for listed in versions:
        if name in (listed.version.registry_version, listed.version.model_version):
            return listed
    known = ", ".join(listed.version.registry_version for listed in versions[:10])
    raise ClassifierError(f"there is no version {name!r}. The newest are {known}; `python promote_model.py` lists all")


def promote(store: "Store", chosen: "Listed", why: str, *, rollback: bool = False) -> None:
    if store.alias in chosen.aliases:
        print(f"version {chosen.version.registry_version} ({chosen.version.model_version}) is live already")
        return
    verify(store, chosen.version)
    said(store.move(store.alias, chosen.version, why, rollback=rollback), [chosen])


def verify(store: "Store", version: "RegisteredVersion") -> None:
    """Raises ReleaseError if the release isn't what was registered, or can't be served."""
    from classifier.predictor import Predictor

    Predictor(store.fetch(version))


def roll_back(store: "Store", versions: "Sequence[Listed]", why: str | None) -> None:
    moves = store.catch_up(store.alias)
    known = {listed.version.registry_version: listed for listed in versions}
    targets = [known[number] for number in journal.previous(moves, store.alias) if number in known]
    if not targets:
        raise ClassifierError(f"there is nothing to go back to: no other version had '{store.alias}' before this one")
    promote(store, targets[0], why or "rollback", rollback=True)


def said(move: "Move", versions: "Sequence[Listed]") -> None:
    names = {listed.version.registry_version: listed.version.model_version for listed in versions}
    if move.to is None:
        print(f"'{move.alias}' is on no version now; it was on {move.origin or 'none'} (move {move.number})")
        return
    before = f", in place of {move.origin}" if move.origin else ""
    print(f"'{move.alias}' is version {move.to} ({names[move.to]}){before}: {move.why} (move {move.number})")


def version_table(
    versions: "Sequence[Listed]", metrics: Sequence[dict[str, float]], moves: "Sequence[Move]", alias: str
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


def journal_table(moves: "Sequence[Move]", versions: "Sequence[Listed]") -> str:
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
