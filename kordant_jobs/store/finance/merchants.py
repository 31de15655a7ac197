"""Which key the rows of one merchant share within an entity, decided when rows are written: names that are alike get
the key of the first one. Kept names are opened from one row each; nothing afterwards needs to decrypt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from uuid import UUID

import sqlalchemy as sa
from rapidfuzz import fuzz, process
from sqlalchemy import Connection

from kordant_jobs.domain.finance.merchants import is_known_firm, merchant_of
from kordant_jobs.store.finance.tables import transactions
from kordant_jobs.store.people.keyring import Keyring, Sealed, SubscriberKeys

MERCHANT = "merchant"
ALIKE = 90
PREFIX = 5
"""Letters: a name that begins with another one of at least so many is the same merchant's."""

_KEPT = sa.text("""
SELECT DISTINCT ON (a.entity_id, t.merchant_key) a.entity_id, t.merchant_key, t.id, t.description_encrypted,
       t.counterparty_encrypted
FROM kordant.bank_accounts a JOIN kordant.transactions t ON t.account_id = a.id
WHERE a.entity_id = ANY(cast(:entities AS uuid[])) AND t.merchant_key IS NOT NULL
ORDER BY a.entity_id, t.merchant_key, t.first_seen_at
""")
_THERE = sa.text("""
SELECT DISTINCT a.entity_id, t.merchant_key FROM kordant.bank_accounts a
JOIN kordant.transactions t ON t.account_id = a.id
WHERE a.entity_id = ANY(cast(:entities AS uuid[])) AND t.merchant_key = ANY(cast(:keys AS text[]))
""")


def own_key(keyring: Keyring, name: str) -> str:
    """The key of a name by itself: a firm that everybody knows in clear, any other as a keyed hash."""
    return name if is_known_firm(name) else "~" + keyring.blind_index(MERCHANT, name).hex()


def keys_of(
    connection: Connection, keyring: Keyring, keys: SubscriberKeys, names: Mapping[UUID, Collection[str]]
) -> dict[tuple[UUID, str], str]:
    """The key of each name of each entity."""
    found = {(entity, name): own_key(keyring, name) for entity, own in names.items() for name in own if name}
    if not found:
        return found
    given = {"entities": [str(one) for one in names], "keys": sorted(set(found.values()))}
    there = {(row.entity_id, row.merchant_key) for row in connection.execute(_THERE, given)}
    new = defaultdict[UUID, list[str]](list)
    for (entity, name), key in sorted(found.items()):
        if (entity, key) not in there:
            new[entity].append(name)
    if not new:
        return found
    kept = _kept_names(connection, keys, list(new))
    for entity, own in new.items():
        known = kept[entity]
        for name in own:
            alike = _alike(name, known)
            if alike is None:
                known[name] = found[entity, name]
            else:
                found[entity, name] = known[alike]
    return found


def _alike(name: str, known: Mapping[str, str]) -> str | None:
    """The known name that is the same merchant's."""
    best = process.extractOne(name, known.keys(), scorer=fuzz.ratio, score_cutoff=ALIKE)
    if best is not None:
        return str(best[0])
    for other in known:
        shorter, longer = sorted((name, other), key=len)
        if len(shorter) >= PREFIX and longer.startswith(f"{shorter} "):
            return other
    return None


def _kept_names(
    connection: Connection, keys: SubscriberKeys, entity_ids: Collection[UUID]
) -> defaultdict[UUID, dict[str, str]]:
    names = defaultdict[UUID, dict[str, str]](dict)
    for row in connection.execute(_KEPT, {"entities": [str(one) for one in entity_ids]}):
        texts = ["", ""]
        for number, column in enumerate(("description_encrypted", "counterparty_encrypted")):
            if (sealed := getattr(row, column)) is not None and row.entity_id in keys:
                value = Sealed(
                    subscriber_id=row.entity_id, column=transactions.c[column], row_id=row.id, sealed=bytes(sealed)
                )
                texts[number] = keys.open(value)
        if name := merchant_of(*texts):
            names[row.entity_id].setdefault(name, row.merchant_key)
    return names
