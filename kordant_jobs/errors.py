"""The error tree. An error tells the engine what to do: try again later, or stop.

KordantError
├── CancelRequested       this run was cancelled: an op lets it through
├── TransientError        the same attempt may succeed later (retry_after_s, when the server gave one)
│   ├── SourceUnavailable     an outside party did not answer, or not sensibly
│   └── DatabaseUnavailable   Postgres is not there, or went away
└── PermanentError        the same attempt will fail again until a person changes something
    ├── SettingsError         a setting is missing or wrong
    ├── KeyringError          the master key is missing, wrong, or a subscriber's key was deleted
    ├── DumpUnreadable        a breach dump cannot be read as one
    ├── CatalogueUnreadable   a breach catalogue is not the HIBP model
    └── SetupError            the machine lacks something that we cannot add
"""

from kordant_jobs.redaction import storable


class KordantError(Exception):
    """Root of all errors raised on purpose. The text is one line: what failed, on what, what to do next."""

    def __str__(self) -> str:
        """The text, which may hold what others said, as it can be stored."""
        return storable(super().__str__())


class CancelRequested(KordantError):
    """All requests of the run were cancelled. This is not a failure: do not catch it, or raise it again after cleaning
    up."""


class TransientError(KordantError):
    """The same attempt may succeed later; `retry_after_s` is the server's own value, when it gave one."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SourceUnavailable(TransientError):
    """An outside party did not answer, or not with what its contract promises."""


class DatabaseUnavailable(TransientError):
    """Postgres cannot be reached, or went away in the middle."""


class PermanentError(KordantError):
    """The same attempt will fail again until a person changes something."""


class SettingsError(PermanentError):
    """A setting is missing or wrong."""


class KeyringError(PermanentError):
    """The master key is missing or wrong, or a subscriber's key was deleted."""


class DumpUnreadable(PermanentError):
    """A breach dump cannot be read: not a dump, damaged, or over a limit. Quarantine it."""


class CatalogueUnreadable(PermanentError):
    """A breach catalogue is not a JSON array of the HIBP breach model."""


class SetupError(PermanentError):
    """The machine lacks something that we cannot add on our own."""
