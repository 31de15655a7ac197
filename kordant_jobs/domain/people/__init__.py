"""Subscriptions and tiers as values. What is watched for them is `identifiers`; how often, `schedules`."""
