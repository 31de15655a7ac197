"""The invented population as rows to write."""

from datetime import datetime, timedelta

from kordant_jobs.lab.world.population import Population
from kordant_jobs.store.people.subscribers import NewItem, NewSubscriber


def new_subscribers(population: Population, now: datetime) -> list[NewSubscriber]:
    """The population as rows to write, its items as old as it says."""
    return [
        NewSubscriber(
            id=person.id,
            subscription_id=person.subscription_id,
            tier=person.tier,
            locale=person.locale,
            time_zone=person.time_zone,
            name=person.name,
            contact=person.contact,
            created_at=now - timedelta(days=max(item.created_on_day for item in person.items) + 1),
            items=tuple(
                NewItem(
                    id=item.id,
                    kind=item.kind,
                    canonical=item.canonical,
                    verified_at=now - timedelta(days=item.created_on_day) if item.verified else None,
                    created_at=now - timedelta(days=item.created_on_day),
                )
                for item in person.items
            ),
        )
        for person in population.subscribers
    ]
