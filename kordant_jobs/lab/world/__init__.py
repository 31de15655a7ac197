"""The demo's invented world, from a seed: who subscribes, what was stolen, and which breaches are known.

It writes files and gives values; it knows neither the database nor the jobs. No person in it exists: e-mail addresses
are under reserved names (RFC 2606), phone numbers from ranges kept for fiction where a country has one.
"""
