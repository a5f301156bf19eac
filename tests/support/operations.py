"""The file operations of a training, and a fault at one of them.

An operation is an event of Python's audit hooks that changes the name or the content of a file in the training's
folder. One that opens a file to write it anew has two points: before it, and when the file exists and is empty.
"""

import errno
import os
import re
import resource
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate")
"""The audit events, besides `open`, that change a name or a content."""

VARYING = (
    (r"\b[0-9a-f]{32}\b", "<id>"),
    (r"\b\d{18}\b", "<experiment>"),
    (r"\b\d{8}_\d{6}\b", "<version>"),
    (r"\btmp\w{8}(file)?\b", "<temporary>"),
    (r"/version-\d+", "/version-<n>"),
)
"""Parts of a path that differ in each training, and their names when operations are compared."""

MANY_FILES = re.compile(
    r"(<experiment>/.*/(?:params|metrics|tags|artifacts(?:/\w+)?)|\.partial(?:/\w+)?"
    r"|\.<version>\.tmp(?:/<temporary>(?:/\w+)?)?|open \S+/\.registry\.tmp)/[^/]+$"
)
"""Files of which a training writes many of a kind. None of a kind is read before the last one is written."""


@dataclass(frozen=True)
class Point:
    """A moment in a training.

    Attributes:
        number: of its operation, from 1.
        opened: whether the file of this operation is open and empty; False: the moment before the operation.
        operation: the audit event and its paths, relative to the training's folder.
    """

    number: int
    opened: bool
    operation: str

    @property
    def kind(self) -> str:
        """The operation without what differs in each training; the same for all of many files of a kind."""
        text = self.operation
        for pattern, name in VARYING:
            text = re.sub(pattern, name, text)
        return MANY_FILES.sub(r"\1/*", text) + (" opened" if self.opened else "")


def one_per_kind(points: Iterable[Point]) -> list[Point]:
    """The points without repetition: of many files of a kind only the first and the last, and of these only the moment
    when they are open, because the moment before is like the one after the file before."""
    kinds: dict[str, list[Point]] = {}
    for point in points:
        kinds.setdefault(point.kind, []).append(point)
    chosen: list[Point] = []
    for kind, same in kinds.items():
        if "/*" not in kind:
            chosen += same
        elif f"{kind} opened" not in kinds:
            chosen += sorted({same[0], same[-1]}, key=lambda point: point.number)
    return chosen


class Operations:
    """An audit hook that records the file operations of this process in a folder, and causes a fault at one of them.

    The fault is `kill`, a SIGKILL, or `full`, a full disk: from a point before an operation on, no file or folder can
    be made; from a point with an opened file on, no byte can be written to any file, while files can still be made, as
    on many a full disk. Without a fault the operations are only recorded, as `points`.
    """

    def __init__(self, folder: str, fault: str, number: int, opened: bool) -> None:
        self._folder, self._fault, self._faulty = folder, fault, (number, opened)
        self._busy = self._full = False
        self._count = 0
        self.points: list[Point] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._busy or (event != "open" and event not in CHANGES):
            return
        self._busy = True  # what happens in here is no operation of the training
        try:
            self._record(event, arguments)
        finally:
            self._busy = False

    def _record(self, event: str, arguments: tuple[Any, ...]) -> None:
        if isinstance(arguments[0], int):
            return
        name = os.fsdecode(arguments[0])
        if event in ("os.remove", "os.rmdir", "os.mkdir") and arguments[-1] != -1:
            name = str(Path(f"/proc/self/fd/{arguments[-1]}").readlink() / name)
        path = Path(name).absolute()
        flags = arguments[2] if event == "open" else 0
        if not str(path).startswith(f"{self._folder}/") or not _changes(event, path, flags):
            return
        text = f"{event} {path.relative_to(self._folder)}"
        if event == "os.rename":
            text += f" to {os.fsdecode(arguments[1]).removeprefix(self._folder)[1:]}"
        elif event == "open" and path.exists():
            text += " again"
        self._count += 1
        self._reach(Point(self._count, False, text))
        if event == "open" and (flags & os.O_TRUNC or not path.exists()):
            self._reach(Point(self._count, True, text), path, flags)
        if self._full and event in ("open", "os.mkdir"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def _reach(self, point: Point, path: Path | None = None, flags: int = 0) -> None:
        self.points.append(point)
        if (point.number, point.opened) != self._faulty:
            return
        if self._fault == "kill":
            if path:
                os.close(os.open(path, flags, 0o666))
            os.kill(os.getpid(), signal.SIGKILL)
        elif point.opened:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        else:
            self._full = True


def _changes(event: str, path: Path, flags: int) -> bool:
    if event == "open":
        return bool(flags & (os.O_TRUNC | os.O_APPEND)) or (bool(flags & os.O_CREAT) and not path.exists())
    return event != "os.mkdir" or not path.exists()
