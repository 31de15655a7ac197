"""/api/jobs over HTTP, and its tools for agents: it asks the engine and the stores, and knows no job's code."""
