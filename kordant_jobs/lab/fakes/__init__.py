"""Outside parties as real servers on loopback, which obey the same contracts as the real ones."""
