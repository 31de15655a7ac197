"""reports_generate: PDF reports for subscribers of what was checked, what was found, and what to do."""
