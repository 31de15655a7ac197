"""A request runs between 2000 and 2200: a date that Python has no year for would stop the dispatcher.

Revision ID: 0021
Revises: 0020
"""

from alembic import op

revision, down_revision = "0021", "0020"
branch_labels = depends_on = None


def upgrade() -> None:
    op.create_check_constraint(
        "run_at_between_2000_and_2200",
        "job_requests",
        "run_at >= '2000-01-01 00:00:00+00' AND run_at < '2200-01-01 00:00:00+00'",
        schema="kordant",
    )


def downgrade() -> None:
    op.drop_constraint("job_requests_run_at_between_2000_and_2200_check", "job_requests", schema="kordant")
