"""What agents have planned and a person has approved, a step at a time."""
