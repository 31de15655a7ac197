"""/api/jobs over HTTP, and the tools for agents. It uses the engine and the stores, and no code of a job."""
