"""An index of the recordings that wait for approval: every request to a personal address looks for them.

Revision ID: 0019
Revises: 0018
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_recordings_unreviewed", "recordings", ["room_id", "unreviewed"])
