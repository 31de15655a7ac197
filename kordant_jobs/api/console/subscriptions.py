"""Subscriptions: their next runs, and the verdicts of sources. Shows ids, tiers and counts; masked identifiers only on
demand."""

from sqlalchemy import Connection
from starlette.responses import Response

from kordant_jobs.api.console.visit import Visit, an_id
from kordant_jobs.api.problems import Problem, not_found
from kordant_jobs.domain.access.policy import Action
from kordant_jobs.domain.people.subscriptions import SubscriptionStatus, Tier
from kordant_jobs.store.people import subscriptions
from kordant_jobs.triggers import price_list

PAGE = 50


def show_list(connection: Connection, visit: Visit) -> Response:
    """Show a page of subscriptions by id. A full id in the search leads to that subscription."""
    visit.who.permit(Action.SUBSCRIPTION_READ, visit.who.of_all())
    if wanted := visit.asked("id"):
        return visit.go(f"/console/subscriptions/{an_id(wanted)}")
    tier, status, after = visit.asked("tier"), visit.asked("status"), visit.asked("after")
    if (tier and tier not in set(Tier)) or (status and status not in set(SubscriptionStatus)):
        raise Problem("invalid", visit.words.say("There is no such tier or status."))
    found = subscriptions.find(
        connection,
        tier=Tier(tier) if tier else None,
        status=SubscriptionStatus(status) if status else None,
        after=an_id(after) if after else None,
        limit=PAGE + 1,
    )
    asked = {name: value for name, value in (("tier", tier), ("status", status)) if value}
    return visit.page(
        "subscriptions.html",
        visit.words.say("Subscriptions"),
        items=found[:PAGE],
        after=found[PAGE - 1].id if len(found) > PAGE else None,
        asked=asked,
        is_first=after is None,
        tiers=list(Tier),
        statuses=list(SubscriptionStatus),
    )


def show_one(connection: Connection, visit: Visit) -> Response:
    """Show one subscription: the next run of each job, the last verdict of each source, and the number of watched
    identifiers by kind. The masked identifiers are shown on demand, which the audit log records."""
    visit.who.permit(Action.SUBSCRIPTION_READ, visit.who.of_all())
    found = subscriptions.get(connection, an_id(visit.request.path_params["subscription_id"]))
    if found is None:
        raise not_found()
    masks = None
    if visit.asked("show") == "masks":
        visit.who.record(connection, visit.who.audit_entry("subscriptions.read_masks", "subscription", str(found.id)))
        masks = subscriptions.masks(connection, visit.who.keyring, found)
    return visit.page(
        "subscription.html",
        visit.words.say("Subscription"),
        one=found,
        verdicts=subscriptions.last_verdicts(connection, found.id),
        masks=masks,
        services=price_list.next_services(connection, found.id, now=visit.who.now),
        kinds=subscriptions.watched_kinds(connection, found.id),
    )
