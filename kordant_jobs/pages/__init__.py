"""Web pages and callbacks that links in messages and outside services lead to. Decisions are the jobs' services'."""
