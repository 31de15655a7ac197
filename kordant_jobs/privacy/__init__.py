"""Rights of a person: to be forgotten, and to see their stored data. `store.people` has the keys."""
