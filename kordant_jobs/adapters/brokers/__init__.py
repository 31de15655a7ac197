"""Data brokers as outside parties: their lists, their mails, their web sites, and the Data Rights Protocol."""
