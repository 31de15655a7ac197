"""Retention terms of reports, and the links that open them. The job makes figures and pages."""
