"""The outside parties that jobs talk to, as Protocols. Each has a real adapter and a fake beside it in `adapters/`."""

from __future__ import annotations

from typing import Protocol


class BreachCatalogue(Protocol):
    """Whoever lists the known breaches (HIBP v3 model)."""

    def read(self) -> bytes:
        """The whole catalogue as it came, not yet looked into.

        Raises:
            SourceUnavailable: it could not be had.
        """
        ...
