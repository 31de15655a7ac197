"""Data brokers and removal requests: values, states, legal terms. The job's `rules` decide what a request does next."""
