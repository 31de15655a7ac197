"""Terms for which reports are kept, and the links that open them. Figures and pages are the job's."""
