"""A gap's position for its next event has a name that says so.

Revision ID: 0014
Revises: 0013
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE gaps RENAME COLUMN following TO next_position")
