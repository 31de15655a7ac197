"""notifications_send: sends subscribers notifications of their alerts, each once."""
