"""Chapters after a pause or a gap are called "Resumed" in episodes that were made before, too.

Revision ID: 0015
Revises: 0014
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

OLD, NEW = "Goes on", "Resumed"


def upgrade() -> None:
    episodes = sa.table("episodes", sa.column("recording_id", sa.BigInteger()), sa.column("chapters", sa.String()))
    connection = op.get_bind()
    rows = connection.execute(sa.select(episodes).where(sa.cast(episodes.c.chapters, sa.String()).contains(OLD))).all()
    for recording_id, chapters in rows:
        renamed = json.dumps([[at, NEW if title == OLD else title] for at, title in json.loads(chapters)])
        connection.execute(episodes.update().where(episodes.c.recording_id == recording_id).values(chapters=renamed))
