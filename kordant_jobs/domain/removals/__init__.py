"""Data brokers and removal requests: nouns, states, legal clocks. What a request does next is the job's `rules`."""
