"""Breaches and exposures as values. How they are judged is the job's rules; identifiers have an area of their own."""
