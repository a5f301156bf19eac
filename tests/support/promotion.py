"""What the tests of promote_model.py share."""

from collections.abc import Callable

from tests.support.workspaces import Workspace

Command = Callable[..., tuple[int, str]]
"""promote_model.py: its arguments → its status, and what it printed."""


def live(workspace: Workspace) -> str:
    """The registry version of the champion."""
    return workspace.store().champion().registry_version
