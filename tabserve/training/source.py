"""Where a table is, and how to read it. Imports the standard library only, because the options of the commands need
it."""

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qsl, unquote

OpenFile = Callable[[], AbstractContextManager[BinaryIO]]
"""Opens a file at its begin, each time."""

STANDARD_INPUT = "-"

MISSING = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
"""The texts that count as missing in CSV and Excel: those of pandas."""

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
"""The characters that may stand between the columns of CSV, and what they are called."""


@dataclass(frozen=True)
class TableSource:
    """A table that can be read.

    Attributes:
        place: a file; a folder of Parquet files, or a pattern of their names; `-` for standard input; or the address
            of a database. It may hold a password: show `name`.
        query: the SQL query whose result is the table, if it is in a database.
        separator: what stands between the columns of CSV; None to find it out.
        encoding: of CSV; None to find it out.
        missing: the texts that count as missing, besides the empty one; None for `MISSING`.
        has_header: whether CSV and Excel have the names of the columns; if not, they are 1, 2, 3 …
        sheet: of Excel; None for the first one.
    """

    place: str = field(repr=False)
    query: str | None = None
    separator: str | None = None
    encoding: str | None = None
    missing: Sequence[str] | None = None
    has_header: bool = True
    sheet: str | None = None

    @property
    def is_database(self) -> bool:
        return re.match(r"[A-Za-z][\w.+-]*://", self.place) is not None

    @property
    def is_pattern(self) -> bool:
        """Whether the place is a pattern of names. A file may have such a name, too."""
        return not self.is_database and re.search(r"[*?\[]", self.place) is not None and not Path(self.place).exists()

    @property
    def is_stream(self) -> bool:
        """Whether the place can be read only once: standard input, or a pipe such as a shell makes of `<(command)`."""
        return self.place == STANDARD_INPUT or Path(self.place).is_fifo()

    @property
    def file(self) -> Path | None:
        """The file, after which the model is named; None for every other place."""
        is_other = self.is_database or self.is_stream or self.is_pattern or Path(self.place).is_dir()
        return None if is_other else Path(self.place)

    @property
    def name(self) -> str:
        """The place in messages, without user and password."""
        if self.is_database:
            scheme, _, rest = self.place.partition("://")
            return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"
        return "standard input" if self.place == STANDARD_INPUT else Path(self.place).name

    @property
    def display_place(self) -> str:
        """The place without user and password, whole."""
        return self.name if self.is_database else self.place

    @property
    def table_name(self) -> str:
        """The name of the table in the metadata of a model."""
        if self.is_database:
            return "query"
        return "stdin" if self.place == STANDARD_INPUT else Path(self.place).name.split(".")[0] or "table"

    def without_secrets(self, text: str) -> str:
        """A message of another library without the user, the password and the parameters of the address."""
        if not self.is_database:
            return text
        text = text.replace(self.place, self.name)
        rest = self.place.partition("://")[2]
        user, _, password = rest.rpartition("@")[0].partition(":")
        for secret in (password, *(value for _, value in parse_qsl(rest.partition("?")[2]))):
            for form in {secret, unquote(secret)} - {""}:
                text = text.replace(form, "***")
        for form in {user, unquote(user)} - {""}:  # a user's name may be a part of a common word
            text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", "***", text)
        return text
