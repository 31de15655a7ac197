"""The price list in its edited form, and the due times of subscriptions. The engine has the queued requests."""
