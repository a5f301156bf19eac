"""What can go wrong, in words of the domain.

A message is written for the person who reads it: what is wrong, and what to do. Nothing here knows HTTP:
`tabserve.web.refusals` alone turns these errors into status codes, and the commands print them as one line on stderr.
"""


class TabserveError(Exception):
    """Base class of all errors that this package raises on purpose."""


class SettingsError(TabserveError):
    """A setting is unknown, or has an unusable value."""


class DataError(TabserveError):
    """A model can't be trained on this table, or with this choice of its columns."""


class ReleaseError(TabserveError):
    """A release on disk is incomplete or damaged, or doesn't give the outputs that it promises."""


class ParityError(ReleaseError):
    """A compiled model doesn't give the outputs of the model that it was compiled from."""


class TrackingError(TabserveError):
    """The MLflow store can't be reached, read or written."""


class NoModelError(TabserveError):
    """There is no model to serve yet."""


class OverloadedError(TabserveError):
    """The service has as much work as it takes."""


class InvalidInputError(TabserveError):
    """A caller's input breaks the schema of the model.

    Attributes:
        problems: one entry a problem, each with `type`, `loc` (the path to the field) and `msg`.
    """

    def __init__(self, problems: list[dict[str, object]]) -> None:
        super().__init__(f"{len(problems)} problem(s) with the input")
        self.problems = problems
