"""Jobs of one recording, room or person take turns with those of others.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("turn", sa.String(length=255), nullable=True))
    if op.get_bind().dialect.name != "sqlite":
        return  # no other database has jobs of that time
    op.execute(
        """
        UPDATE jobs SET turn = CASE kind
            WHEN 'direct' THEN json_extract(payload, '$.user_id')
            WHEN 'invite' THEN json_extract(payload, '$.inviter')
            ELSE coalesce(json_extract(payload, '$.recording'), json_extract(payload, '$.room_id'))
        END
        WHERE state IN ('ready', 'running')
        """
    )
