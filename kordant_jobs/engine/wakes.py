"""The tag of sensors that are evaluated on a notification."""

WAKES = "kordant/wakes"
"""A tag of sensors. With the value 'events', `NOTIFY kordant_events` has them evaluated at once; their minimum interval
then only covers changes without a notification."""
