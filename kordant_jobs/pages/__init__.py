"""Web pages behind links in messages, and callbacks for outside services. Decisions are made in the jobs' services."""
