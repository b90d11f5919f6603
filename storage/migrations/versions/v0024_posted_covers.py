"""The message that a podcast's own cover was posted in: its redaction ends the cover. Covers chosen before have none.

Revision ID: 0024
Revises: 0023
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("own_cover_event", "own_cover_room", "own_cover_sender"):
        op.add_column("rooms", sa.Column(name, sa.String(255)))
    op.create_index("ix_rooms_own_cover_event", "rooms", ["own_cover_event"])
