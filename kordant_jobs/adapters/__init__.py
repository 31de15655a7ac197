"""Adapters for the outside world: dumps, corpora, feeds, mail. No Dagster here. The Protocols that jobs use are in
`ports`."""
