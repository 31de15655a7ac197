"""Tests, mirroring the tree of `kordant_jobs`; each name is a claim."""
