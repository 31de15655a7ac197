"""HomeTitle in the lab: how the names score is fitted, and how rules are counted against an invented county."""
