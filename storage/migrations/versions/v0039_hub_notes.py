"""The revision of each room that the WebSub hub's pings have taken note of.

Revision ID: 0039
Revises: 0038
"""

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hub_notes",
        sa.Column("room_id", sa.String(255), primary_key=True),
        sa.Column("revision", sa.Integer(), nullable=False),
    )
