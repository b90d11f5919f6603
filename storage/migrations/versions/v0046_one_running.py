"""At most one job of a name runs: an index says so, for claimers that pass by each other.

Revision ID: 0046
Revises: 0045
"""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None


def upgrade() -> None:
    running = sa.text("state = 'running'")
    op.create_index(
        "uq_jobs_running",
        "jobs",
        ["kind", "subject"],
        unique=True,
        sqlite_where=running,
        postgresql_where=running,
    )
