"""What can go wrong, in the domain's words.

Every message is written for the person who will read it: it says what is wrong and what to do. Nothing here knows HTTP;
`tabserve.web.app` alone turns these into status codes, and the scripts turn them into one line on stderr.
"""


class TabserveError(Exception):
    """Base of everything that this package raises on purpose."""


class SettingsError(TabserveError):
    """A setting has a value that can't be used."""


class DataError(TabserveError):
    """The table, or an option that cuts it, can't be trained on."""


class ReleaseError(TabserveError):
    """A release on disk is incomplete, damaged, or doesn't compute what it promises."""


class ParityError(ReleaseError):
    """A compiled forest doesn't give the probabilities of the model it was made from."""


class TrackingError(TabserveError):
    """The MLflow store can't be reached, read or written."""


class NoModelError(TabserveError):
    """There is no model to serve yet."""


class InvalidInputError(TabserveError):
    """A caller's input breaks the schema of the model.

    Attributes:
        problems: what is wrong, one entry a problem, each with `type`, `loc` (the way to the field) and `msg`.
    """

    def __init__(self, problems: list[dict[str, object]]) -> None:
        super().__init__(f"{len(problems)} problem(s) with the input")
        self.problems = problems
