"""The catalogue of data brokers, removal requests and everything that happened to them."""
