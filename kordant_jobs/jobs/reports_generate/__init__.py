"""reports_generate: tells subscribers as a PDF what was checked, what was found, and what to do."""
