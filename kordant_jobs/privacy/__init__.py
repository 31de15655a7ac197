"""Rights of a person: to be forgotten, and to see what is kept. The keys themselves are `store.people`."""
