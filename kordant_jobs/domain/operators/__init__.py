"""What operators are told: rules, and when an alert begins and ends. Pure."""
