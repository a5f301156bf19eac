"""Runs the checks one after the other, and prints a line for each."""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import requests

from api_checks import bad_input, classes, history_and_metrics, model_and_docs, numbers, predictions
from api_checks.client import Api, ServedModel, new_session
from api_checks.own_server import own_server

Check = Callable[[Api], None]


def _checks_of(topic: ModuleType) -> list[Check]:
    return [check for name, check in vars(topic).items() if name.startswith("test_")]


TOPICS: dict[str, list[ModuleType]] = {
    "classification": [classes, predictions, history_and_metrics, model_and_docs, bad_input],
    "regression": [numbers, predictions, history_and_metrics, model_and_docs, bad_input],
}
"""Task of a model → the topics of its checks, in the order in which they run."""

IRIS_CHECKS = [check for topic in TOPICS["classification"] for check in _checks_of(topic)]
"""Every check of a model of Iris."""


def checks_for(model: ServedModel) -> list[Check]:
    """The checks that apply to this model."""
    checks = [check for topic in TOPICS[model.task] for check in _checks_of(topic)]
    return [check for check in checks if model.is_of_iris or check is not classes.test_known_flowers_are_recognized]


def run(url: str) -> int:
    """Runs every check, prints a line for each and a closing count. Returns how many failed.

    Raises:
        RuntimeError: the API doesn't describe its model, so nothing can be checked.
    """
    print(f"Testing {url}")
    api, failed = Api(url), 0
    try:
        checks = checks_for(api.model)
    except (AssertionError, requests.RequestException, LookupError, ValueError) as error:
        raise RuntimeError(f"{url} doesn't describe the model that it serves: {error}") from error
    for check in checks:
        started = time.perf_counter()
        try:
            check(api)
            failure = ""
        except Exception as error:  # noqa: BLE001 a check that crashes has failed, and the others still run
            failure = f"{type(error).__name__}: {error}" if not isinstance(error, AssertionError) else str(error)
        milliseconds = (time.perf_counter() - started) * 1000
        promise = " ".join((check.__doc__ or check.__name__).split())
        print(f" {'✗' if failure else '✓'} {milliseconds:6.0f} ms  {promise}")
        if failure:
            failed += 1
            print(f"              {failure[:500]}")
    print(f"{len(checks) - failed} passed, {failed} failed")
    return failed


def answers(url: str) -> bool:
    """Whether anything answers at this address."""
    with contextlib.suppress(requests.RequestException):
        new_session().get(f"{url.rstrip('/')}/livez", timeout=5)
        return True
    return False


def main(
    argv: Sequence[str] | None = None,
    *,
    program: str,
    version: str,
    train: Sequence[str],
    serve: Sequence[str],
    folder: Path,
) -> int:
    """Checks the API at --url; if nothing answers there, a server that these two commands make, run in `folder`."""
    parser = argparse.ArgumentParser(prog=program, description="Check a running API against its contract, over HTTP.")
    parser.add_argument("--url", default="http://localhost:8000", help="address of the API (default: %(default)s)")
    parser.add_argument("--no-server", action="store_true", help="fail if nothing answers there, start no server")
    parser.add_argument("--version", action="version", version=f"tabserve {version}")
    options = parser.parse_args(argv)
    if not options.url.startswith(("http://", "https://")):
        parser.error(f"{options.url!r} is no address: it starts with http:// or https://")
    try:
        if answers(options.url):
            return 1 if run(options.url) else 0
        if options.no_server:
            raise RuntimeError(f"nothing answers at {options.url}")
        print(f"Nothing answers at {options.url}: training a model in a temporary folder and starting a server for it")
        with own_server(train, serve, folder) as url:
            failed = run(url)
        print(f"That was a server of our own: nothing answers at {options.url}")
        return 1 if failed else 0
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output, `head` for instance, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except RuntimeError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
