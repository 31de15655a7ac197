"""The outside parties that jobs talk to, as Protocols. Each has a real adapter and a fake beside it in `adapters/`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class CatalogueContent:
    """A breach catalogue as it came, not yet looked into."""

    content: bytes


class BreachCatalogue(Protocol):
    """Whoever lists the known breaches (HIBP v3 model)."""

    def read(self) -> CatalogueContent:
        """The whole catalogue.

        Raises:
            SourceUnavailable: it could not be had.
        """
        ...
