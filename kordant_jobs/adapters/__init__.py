"""The outside world: dumps, corpora, feeds, mail. No Dagster here; what a job asks for is a Protocol in
`ports`."""
