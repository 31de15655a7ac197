"""The catalogue of data brokers, removal requests and their history."""
