"""The price list as it is edited, and which subscriptions are due when. Queued requests are the engine's."""
