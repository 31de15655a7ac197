"""Operations for subscribers: issue a token for one (by a service), and read the caller's own subscriptions and their
last verdicts."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection

from kordant_jobs.api.calls import Answer, Call
from kordant_jobs.api.problems import not_found
from kordant_jobs.api.schemas import SubscriberTokenWanted
from kordant_jobs.domain.access import subscriber_tokens
from kordant_jobs.domain.access.policy import Action, Owner
from kordant_jobs.domain.access.subscriber_tokens import SubscriberToken
from kordant_jobs.store.access import people
from kordant_jobs.store.people import subscriptions
from kordant_jobs.store.reports import receipts

RECEIPTS = 24
"""The most receipts of a subscription that are shown, the newest ones: two years, one a month."""


def issue_token(connection: Connection, call: Call, body: SubscriberTokenWanted) -> Answer:
    """Issue a token for a subscriber who has a subscription in the service's scope."""
    rule = call.permit(Action.ISSUE_SUBSCRIBER_TOKEN)
    expires_at = (call.now + timedelta(seconds=body.ttl_s)).replace(microsecond=0)
    token = SubscriberToken(subscriber_id=body.subscriber_id, service_id=call.principal.id, expires_at=expires_at)
    if people.subscriber(connection, token) is None:
        raise not_found()
    call.record(
        connection, call.audit_entry("tokens.issue_subscriber", "subscriber", str(body.subscriber_id), rule=rule)
    )
    written = subscriber_tokens.sign(token, call.keyring.subscriber_token_key)
    return Answer(body={"token": written, "expires_at": expires_at}, headers={"Cache-Control": "no-store"})


def protection(connection: Connection, call: Call) -> Answer:
    """The caller's own subscriptions, with the last verdict of each source and the signed receipts."""
    mine = call.principal.entities
    call.permit(Action.PROTECTION_READ, Owner.OTHER if mine is None else Owner.OWN)
    items = []
    for one in sorted(mine or ()):
        found = subscriptions.get(connection, UUID(one))
        if found is None:
            continue
        verdicts = [
            {"source": last.source, "verdict": last.verdict, "reason": last.reason, "checked_on": last.checked_on,
             "exposures": last.exposures}
            for last in subscriptions.last_verdicts(connection, found.id)
        ]  # fmt: skip
        items.append({
            "subscription_id": str(found.id), "tier": found.tier.value, "status": found.status.value,
            "started_at": found.started_at, "ended_at": found.ended_at, "verdicts": verdicts,
            "receipts": list(receipts.of_subscription(connection, found.id))[-RECEIPTS:],
        })  # fmt: skip
    return Answer(body={"items": items})
