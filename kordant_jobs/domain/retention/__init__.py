"""How long which kind of data is kept, on what ground, and what keeps it longer. Pure."""
