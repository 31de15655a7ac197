"""The tag by which a sensor asks to be woken."""

WAKES = "kordant/wakes"
"""A tag of sensors: with the value 'events', `NOTIFY kordant_events` has them evaluated at once; their minimum interval
then only covers changes without a notification."""
