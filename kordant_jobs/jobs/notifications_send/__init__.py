"""notifications_send: tells subscribers of their alerts, each once."""
