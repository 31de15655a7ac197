"""What operators see: logs without personal data."""
