"""Webhooks of Pluggy and Belvo: from their JSON to a request for a sync. They have no signature, only a shared secret
in a header, so nothing in them is trusted except that there is something new."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from kordant_jobs import outside_json
from kordant_jobs.catalog import enqueue
from kordant_jobs.catalog.bank_sync import BankSync
from kordant_jobs.domain.finance.states import Provider
from kordant_jobs.domain.finance.values import BadRow, id_of
from kordant_jobs.engine import Merge
from kordant_jobs.store.finance import webhooks
from kordant_jobs.store.finance.webhooks import Webhook
from kordant_jobs.store.people.keyring import Keyring

USER_ACTED = frozenset({"item/updated", "item/login_succeeded", "item/created"})
DELETED_MOST = 10_000
THROTTLE_S = 5.0


class NoWebhook(ValueError):
    """The body is not a webhook of this provider."""


def read_webhook(provider: Provider, body: bytes) -> Webhook:
    """Read the body of a webhook.

    Raises:
        NoWebhook: nothing that a provider sends.
    """
    try:
        value = outside_json.loads(body)
    except ValueError:
        raise NoWebhook("no JSON") from None
    if not isinstance(value, Mapping):
        raise NoWebhook("no object")
    names = ("webhook_id", "webhook_code", "link_id") if provider is Provider.BELVO else ("eventId", "event", "itemId")
    try:
        event_id, event, item = (id_of(value.get(name)) for name in names)
        rows: Any = value.get("transactionIds") if event == "transactions/deleted" else ()
        deleted = [one for one in map(id_of, rows if isinstance(rows, list) else ()) if one is not None]
    except BadRow:
        raise NoWebhook("an id that is no text") from None
    if event_id is None or event is None or item is None or item.startswith("{"):  # that is a consent's secret
        raise NoWebhook(f"no {', '.join(names)}")
    return Webhook(
        event_id=event_id,
        event=event,
        item=item,
        deleted=deleted[:DELETED_MOST],
        user_acted=event in USER_ACTED,
    )


def take_webhook(connection: Connection, keyring: Keyring, provider: Provider, body: bytes, *, now: datetime) -> bool:
    """Store a webhook in the caller's transaction and request a sync; many at once make one request. False: it was
    known already.

    Raises:
        NoWebhook: the body is not a webhook of this provider.
    """
    webhook = read_webhook(provider, body)
    if not webhooks.take(connection, keyring, provider, webhook, now=now):
        return False
    merge = Merge(key="bank_sync webhooks", throttle_s=THROTTLE_S)
    enqueue(connection, BankSync(), requested_by=f"webhook:{provider}", merge=merge)
    return True
