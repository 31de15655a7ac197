"""Subscriptions and tiers as values. `identifiers` are watched for them, `schedules` has how often."""
