"""Assigns the key that all rows of one merchant share within an entity, when rows are written. Similar names get the
key of the first one. Stored names are decrypted from one row for each key; later steps need no decryption."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from uuid import UUID

import sqlalchemy as sa
from rapidfuzz import fuzz, process
from sqlalchemy import Connection

from kordant_jobs.domain.finance.merchants import KNOWN, merchant_of, split_known_firm
from kordant_jobs.store.finance.tables import transactions
from kordant_jobs.store.people.keyring import Keyring, SubscriberKeys

MERCHANT = "merchant"
ALIKE = 90
PREFIX = 5
"""The least letters of a name for another name that begins with it to be the same merchant's."""

_KEPT = sa.text("""
WITH RECURSIVE keys AS (
    SELECT e.id AS entity_id, (SELECT min(t.merchant_key) FROM kordant.transactions t WHERE t.entity_id = e.id) AS key
    FROM unnest(cast(:entities AS uuid[])) AS e(id)
    UNION ALL
    SELECT k.entity_id, (SELECT min(t.merchant_key) FROM kordant.transactions t
                         WHERE t.entity_id = k.entity_id AND t.merchant_key > k.key)
    FROM keys k WHERE k.key IS NOT NULL
)
SELECT k.entity_id, k.key AS merchant_key, r.* FROM keys k
CROSS JOIN LATERAL (
    SELECT t.id, t.description_encrypted, t.counterparty_encrypted FROM kordant.transactions t
    WHERE t.entity_id = k.entity_id AND t.merchant_key = k.key LIMIT 1) r
""")
"""One row of each key, found by an index scan that skips from key to key."""
_THERE = sa.text("""
SELECT e.id AS entity_id, e.key AS merchant_key
FROM unnest(cast(:entities AS uuid[]), cast(:keys AS text[])) AS e(id, key)
WHERE EXISTS (SELECT FROM kordant.transactions t WHERE t.entity_id = e.id AND t.merchant_key = e.key)
""")


@dataclass(frozen=True, kw_only=True)
class Payee:
    """A name that needs a key. `is_person`: it may be a person's name, whatever it resembles."""

    name: str = field(repr=False)
    is_person: bool = False


def own_key(keyring: Keyring, payee: Payee) -> str:
    """The key of a name by itself. A well-known firm at its start stays in clear; the rest, or the whole name, becomes
    a keyed hash after `~`."""
    firm, rest = ("", payee.name) if payee.is_person else split_known_firm(payee.name)
    hashed = "~" + keyring.blind_index(MERCHANT, rest).hex() if rest else ""
    return f"{firm} {hashed}".strip()


def keys_of(
    connection: Connection, keyring: Keyring, keys: SubscriberKeys, payees: Mapping[UUID, Collection[Payee]]
) -> dict[tuple[UUID, Payee], str]:
    """The key of each name of each entity."""
    found = {(entity, one): own_key(keyring, one) for entity, own in payees.items() for one in own if one.name}
    if not found:
        return found
    wanted = {(entity, key) for (entity, _), key in found.items()}
    given = {"entities": [str(entity) for entity, _ in wanted], "keys": [key for _, key in wanted]}
    there = {(row.entity_id, row.merchant_key) for row in connection.execute(_THERE, given)}
    new = defaultdict[UUID, list[Payee]](list)
    for (entity, payee), key in sorted(found.items(), key=lambda one: (one[0][0], one[0][1].name, one[1])):
        if (entity, key) not in there:
            new[entity].append(payee)
    if not new:
        return found
    kept = _kept_names(connection, keys, list(new))
    for entity, own in new.items():
        known = kept[entity]
        for payee in own:
            key = found[entity, payee]
            rivals = {name: other for name, other in known.items() if _firm_of(other) == _firm_of(key)}
            alike = _alike(payee.name, rivals)
            if alike is None:
                known[payee.name] = key
            else:
                found[entity, payee] = rivals[alike]
    return found


def _firm_of(key: str) -> str:
    """The firm whose name stands in a key; names of different ones are never taken for each other."""
    firm = key.partition("~")[0].strip()
    return firm if firm in KNOWN else ""


def _alike(name: str, known: Mapping[str, str]) -> str | None:
    """The known name of the same merchant; None: there is none."""
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
            if row.entity_id in keys:
                texts[number] = keys.open(row.entity_id, transactions.c[column], row.id, getattr(row, column))
        if name := merchant_of(*texts):
            names[row.entity_id].setdefault(name, row.merchant_key)
    return names
