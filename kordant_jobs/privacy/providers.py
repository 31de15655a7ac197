"""Ends bank connections at their providers: a provider gathers data until the connection is deleted."""

from __future__ import annotations

import asyncio
from uuid import UUID

from sqlalchemy import Engine

from kordant_jobs.adapters.banks.registry import Banks
from kordant_jobs.domain.finance.states import Provider
from kordant_jobs.errors import TransientError
from kordant_jobs.ports import BankFailed
from kordant_jobs.store.finance import connections
from kordant_jobs.store.people.keyring import Keyring


def end_at_provider(owner_id: UUID, *, db: Engine, keyring: Keyring, banks: Banks) -> int:
    """Delete the live connections of a subscriber or an entity, or the one with this id, at their providers. Returns
    their number. Safe to repeat; our own rows stay unchanged.

    Raises:
        TransientError: a provider did not delete one, or is off. Those before it are gone there; try again.
    """
    with db.connect() as connection:
        live = [one for one in connections.secrets_of(connection, keyring, owner_id) if one.provider != Provider.FILE]
    for one in live:
        bank = banks.on.get(one.provider)
        if bank is None:
            raise TransientError(f"connection {one.id}: {banks.off.get(one.provider, 'its provider is off')}.")
        try:
            asyncio.run(bank.end(one.item, one.institution))
        except BankFailed as failure:
            raise TransientError(f"connection {one.id} was not deleted at {one.provider}: {failure.code}.") from None
    return len(live)
