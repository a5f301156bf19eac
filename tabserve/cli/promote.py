"""The command that lists the versions of the model, makes one live, and helps to decide.

`promote_model.py` and `tabserve promote` run it. A running server follows within seconds. Before a version becomes live
it is verified: its release is the one that was registered, and it computes the outputs that it must.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tabserve import __version__
from tabserve.cli import addresses
from tabserve.errors import TabserveError
from tabserve.settings import Settings
from tabserve.store_uri import store_folder

if TYPE_CHECKING:
    from tabserve.model.versions import Deployment
    from tabserve.registry import ListedVersion, Registry

MAX_ROWS = 30
"""How many rows a table shows without --all. The metrics of versions are read run by run, so many take long."""

Action = Literal["list", "promote", "rollback", "challenger", "no-challenger", "compare", "prune", "journal"]


@dataclass(frozen=True)
class Options:
    """The command line.

    Attributes:
        version: what `promote`, `challenger` and `compare` are about: a number of the registry, or a model version.
        keep: how many of the newest versions `prune` keeps.
        in_mlflow: whether `prune` removes versions from MLflow too.
        all_rows: whether tables show more than `MAX_ROWS`.
    """

    action: Action
    version: str
    keep: int
    in_mlflow: bool
    all_rows: bool
    url: str | None
    why: str | None
    model_name: str | None
    tracking_uri: str | None


def parse(argv: Sequence[str] | None, program: str) -> Options:
    """The options; ends the process with status 2 if they can't be used."""
    parser = argparse.ArgumentParser(
        prog=program,
        usage=f"{typed(program)} [VERSION --why TEXT | --rollback | --challenger VERSION | …] [options]",
        description="List the versions of the model, and make one of them live.",
        epilog="VERSION is a number of the registry, like 3, or a model version, like 20241201_143022.",
    )
    parser.add_argument("version", nargs="?", metavar="VERSION", help="make this version live")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--rollback", action="store_true", help="make the version live that was live before")
    action.add_argument("--challenger", metavar="VERSION", help="mark this version as the candidate to watch")
    action.add_argument("--no-challenger", action="store_true", help="mark no version as the candidate")
    action.add_argument("--journal", action="store_true", help="show every deployment so far, the newest first")
    action.add_argument(
        "--compare",
        metavar="VERSION",
        help="answer a running API's newest predictions again with this version, and show what changes",
    )
    action.add_argument(
        "--prune",
        action="store_true",
        help="remove old versions from the artifacts, except those with an alias and those that a rollback leads to",
    )
    parser.add_argument("--all", action="store_true", help=f"show all versions or rows, not only {MAX_ROWS}")
    parser.add_argument("--keep", type=positive_int, metavar="N", help="with --prune: how many of the newest to keep")
    parser.add_argument("--registry", action="store_true", help="with --prune: remove them from MLflow too")
    parser.add_argument("--url", metavar="URL", help="with --compare: address of the API (default: the settings)")
    parser.add_argument("--why", metavar="TEXT", help="the reason, for the journal")
    parser.add_argument("--model-name", metavar="NAME", help="registered model (default: the setting)")
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow store (default: the setting)")
    parser.add_argument("--version", action="version", version=f"tabserve {__version__}")
    given = parser.parse_args(argv)
    actions: dict[Action, bool] = {
        "promote": given.version is not None,
        "rollback": given.rollback,
        "challenger": given.challenger is not None,
        "no-challenger": given.no_challenger,
        "compare": given.compare is not None,
        "prune": given.prune,
        "journal": given.journal,
    }
    chosen = [name for name, is_given in actions.items() if is_given] or ["list"]
    if given.version is not None and (len(chosen) > 1 or given.all):
        parser.error("argument VERSION: give it alone, to make it live")
    if given.version is not None and not (given.why and given.why.strip()):
        parser.error('argument --why: say why it should be live, as in --why "passed review"; it goes into the journal')
    if given.why and chosen[0] not in ("promote", "rollback", "challenger", "no-challenger"):
        parser.error("argument --why: it is the reason for a deployment, and nothing is deployed")
    if given.prune != (given.keep is not None):
        parser.error("arguments --prune and --keep: give both, as in --prune --keep 10")
    for is_given, option, fitting, needed in (
        (given.registry, "--registry", {"prune"}, "--prune"),
        (given.url, "--url", {"compare"}, "--compare"),
        (given.all, "--all", {"compare", "list"}, "--compare, or alone"),
    ):
        if is_given and chosen[0] not in fitting:
            parser.error(f"argument {option}: give it with {needed}")
    return Options(
        action=chosen[0],
        version=next((name for name in (given.version, given.challenger, given.compare) if name is not None), ""),
        keep=given.keep or 0,
        in_mlflow=given.registry,
        all_rows=given.all,
        url=given.url,
        why=given.why,
        model_name=given.model_name,
        tracking_uri=given.tracking_uri,
    )


def positive_int(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10**6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {10**6}")
    return int(text)


def typed(program: str) -> str:
    """What the user types to run the program."""
    return f"python {program}" if program.endswith(".py") else program


def main(argv: Sequence[str] | None = None, *, root: Path, program: str) -> int:
    """Runs the command on the project in the folder `root`, and returns the exit status. `program` names the command in
    its messages."""
    options = parse(argv, program)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    from tabserve.registry import open_registry  # only now: --help and a mistyped option needn't wait for it

    try:
        settings = Settings.load(root, model_name=options.model_name, tracking_uri=options.tracking_uri)
        url = (options.url or addresses.client_url(settings.host, settings.port)).rstrip("/")
        run(open_registry(settings), options, url, typed(program))
    except (TabserveError, OSError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{program}: interrupted; `{typed(program)}` shows which version is live", file=sys.stderr)
        return 130
    return 0


def run(registry: "Registry", options: Options, url: str, command: str) -> None:
    """Does what the options say. `command`: what the user types to list the versions."""
    versions = registry.versions()
    match options.action:
        case "promote":
            promote(registry, find_version(versions, options.version, command), options.why or "")
        case "rollback":
            roll_back(registry, versions, options.why or "rollback")
        case "challenger":
            challenge(registry, find_version(versions, options.version, command), options.why or "a candidate to watch")
        case "no-challenger":
            end_challenge(registry, versions, options.why or "no longer a candidate")
        case "compare":
            compare(registry, find_version(versions, options.version, command), url, all_rows=options.all_rows)
        case "prune":
            prune(registry, options.keep, in_mlflow=options.in_mlflow)
        case "journal":
            show_journal(registry, versions)
        case "list":
            registry.follow_move()
            show_versions(registry, versions, command, all_rows=options.all_rows)


def find_version(versions: "Sequence[ListedVersion]", name: str, command: str) -> "ListedVersion":
    """The version with this number or model version.

    Raises:
        TabserveError: there is none.
    """
    for listed in versions:
        if name in (listed.version.registry_version, listed.version.model_version):
            return listed
    newest = ", ".join(listed.version.registry_version for listed in versions[:10])
    raise TabserveError(f"there is no version {name!r}. The newest are {newest}; `{command}` lists all")


# -- deployments: each first records what was moved by hand


def promote(registry: "Registry", chosen: "ListedVersion", why: str, *, rollback: bool = False) -> None:
    registry.sync()
    if registry.alias in chosen.aliases:
        print(f"{name_of(chosen)} is live already")
        return
    from tabserve.model.predictor import Predictor

    Predictor(registry.fetch(chosen.version))  # raises ReleaseError if it can't be served
    show_deployment(registry.move(registry.alias, chosen.version, why, rollback=rollback), chosen)


def roll_back(registry: "Registry", versions: "Sequence[ListedVersion]", why: str) -> None:
    from tabserve.registry import journal

    existing = {listed.version.registry_version: listed for listed in versions}
    earlier = journal.previous(registry.sync(), registry.alias)
    targets = [existing[number] for number in earlier if number in existing]
    if not targets:
        raise TabserveError(f"there is nothing to roll back to: no earlier version with the alias '{registry.alias}'")
    promote(registry, targets[0], why, rollback=True)


def challenge(registry: "Registry", chosen: "ListedVersion", why: str) -> None:
    registry.sync()
    if registry.alias in chosen.aliases:
        raise TabserveError(f"{name_of(chosen)} is live: the challenger must be another version")
    if registry.challenger_alias in chosen.aliases:
        print(f"{name_of(chosen)} is the challenger already")
    else:
        show_deployment(registry.move(registry.challenger_alias, chosen.version, why), chosen)


def end_challenge(registry: "Registry", versions: "Sequence[ListedVersion]", why: str) -> None:
    registry.sync()
    if any(registry.challenger_alias in listed.aliases for listed in versions):
        show_deployment(registry.move(registry.challenger_alias, None, why), None)
    else:
        print("no version is marked as the challenger")


def prune(registry: "Registry", keep: int, *, in_mlflow: bool) -> None:
    number = freed = 0
    for listed, size in registry.prune(keep, in_mlflow=in_mlflow):
        number, freed = number + 1, freed + size
        print(f"removed {name_of(listed)}, {size / 1e6:.1f} MB")
    where = f"{registry.artifacts}{' and MLflow' if in_mlflow else ''}"
    print(f"{number} version{'s' * (number != 1)} removed from {where}, {freed / 1e6:.1f} MB freed")
    if number and in_mlflow:
        opt_in = "MLFLOW_ALLOW_FILE_STORE=true " if store_folder(registry.uri) else ""
        backend = "<its store>" if registry.uri.startswith("http") else f"'{registry.display_uri}'"
        print(
            "MLflow marked their runs and models as deleted. To remove these for good, run this where the store is:\n"
            f"  {opt_in}mlflow gc --backend-store-uri {backend} --tracking-uri '{registry.display_uri}'"
        )


def show_deployment(deployment: "Deployment", chosen: "ListedVersion | None") -> None:
    alias, number = deployment.alias, deployment.number
    if chosen is None:
        print(f"'{alias}' is on no version now; it was on {deployment.origin or 'none'} (deployment {number})")
    else:
        origin = f", in place of {deployment.origin}" if deployment.origin else ""
        print(f"'{alias}' is on {name_of(chosen)} now{origin}: {deployment.why} (deployment {number})")


# -- what only reads


def show_versions(registry: "Registry", versions: "Sequence[ListedVersion]", command: str, *, all_rows: bool) -> None:
    from tabserve.cli import tables

    shown = versions if all_rows else versions[:MAX_ROWS]
    metrics = [registry.metrics(listed.version) for listed in shown]
    print(tables.version_table(shown, metrics, registry.deployments(), registry.alias))
    if len(versions) > len(shown):
        print(f"older, left out: {len(versions) - len(shown)}; `{command} --all` lists them")


def show_journal(registry: "Registry", versions: "Sequence[ListedVersion]") -> None:
    from tabserve.cli import tables

    print(tables.journal_table(registry.deployments(), versions))


def compare(registry: "Registry", chosen: "ListedVersion", url: str, *, all_rows: bool) -> None:
    from tabserve.cli import replay

    print(replay.compare(registry, chosen.version, url, None if all_rows else MAX_ROWS))


def name_of(listed: "ListedVersion") -> str:
    return f"version {listed.version.registry_version} ({listed.version.model_version})"
