"""Each command in README.md and docs/ is one that works."""

import itertools
import re
import shlex
from collections.abc import Iterator

import pytest

from tests.support.pages import PAGES, SCRIPTS, blocks, options_of, run_script, text

SUBCOMMANDS = {
    "run": "run_pipeline.py",
    "train": "train_model.py",
    "promote": "promote_model.py",
    "serve": "api.py",
    "test": "test_api.py",
}
"""Sub-command of `tabserve` → the script with the same options."""


def documented_commands() -> Iterator[tuple[str, ...]]:
    """The commands of this project in all pages: the script, and its arguments."""
    in_text = re.compile(r"`((?:[A-Z_]+=\S+ |docker-compose run \S+ train )?(?:python \w+\.py|tabserve [a-z]+) [^`]*)`")
    for page in PAGES:
        lines = "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
        lines += [line[2:] for block in blocks(page, "") for line in block.splitlines() if line.startswith("$ ")]
        lines += in_text.findall(text(page))
        for line in lines:
            words = list(itertools.takewhile(lambda word: word not in ("|", "&&", ";"), split(line)))
            for before, word in itertools.pairwise(range(len(words))):
                if words[before] == "python" and words[word] in SCRIPTS:
                    yield tuple(words[word:])
                elif words[before] == "tabserve":
                    yield SUBCOMMANDS[words[word]], *words[word + 1 :]


def split(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # a line of a command of several lines; all of those are `curl`
        assert not any(script in line for script in SCRIPTS), line
        return []


COMMANDS = sorted(set(documented_commands()))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_documented_commands_parse(command: tuple[str, ...]) -> None:
    """Each command in README and docs has options that exist, with values that they take."""
    script, *arguments = command
    assert {argument.partition("=")[0] for argument in arguments if argument.startswith("--")} <= options_of(script)
    if script in ("train_model.py", "promote_model.py"):
        # these read the settings once they have understood the options: a wrong setting stops them there
        done = run_script(script, *arguments, TABSERVE_LOG_LEVEL="none")
        assert done.returncode == 1, done.stderr
        assert "TABSERVE_LOG_LEVEL" in done.stderr
    else:
        # a wrong value stops the command while it reads its options, before it gets to --help
        assert run_script(script, *arguments, "--help").returncode == 0


def test_many_commands_are_documented() -> None:
    """The test above sees the commands of every script."""
    assert {command[0] for command in COMMANDS} == set(SCRIPTS)
    assert len(COMMANDS) > 20
