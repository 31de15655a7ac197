"""Who is served when, after a subscription changed."""
