"""What a person may ask of us: to be forgotten, and to see what is kept. The keys themselves are `store.people`."""
