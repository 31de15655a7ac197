"""What is deleted when its time is over, and what stops a deletion."""
