"""Covers that are drawn anew in today's size; pictures that were made of avatars stay.

Revision ID: 0042
Revises: 0041
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

ROOMS = sa.table(
    "rooms", sa.column("room_id", sa.String()), sa.column("cover_of", sa.Text()), sa.column("joined", sa.Boolean())
)
JOBS = sa.table(
    "jobs",
    *(sa.column(name, sa.String()) for name in ("kind", "subject", "state")),
    sa.column("payload", sa.JSON()),
    *(sa.column(name, sa.DateTime()) for name in ("run_at", "changed_at")),
    sa.column("attempts", sa.Integer()),
)


def upgrade() -> None:
    now = sa.literal(datetime.now(UTC).replace(tzinfo=None), sa.DateTime())
    drawn = ROOMS.c.cover_of.like("drawn: %")
    waits = sa.exists().where(JOBS.c.kind == "cover", JOBS.c.subject == ROOMS.c.room_id, JOBS.c.state == "ready")
    values = {
        "kind": sa.literal("cover"),
        "subject": ROOMS.c.room_id,
        "state": sa.literal("ready"),
        "payload": sa.literal({}, sa.JSON()),
        "run_at": now,
        "changed_at": now,
        "attempts": sa.literal(0),
    }
    chosen = sa.select(*values.values()).where(drawn, ROOMS.c.joined, ~waits)
    op.execute(JOBS.insert().from_select(list(values), chosen))
    op.execute(ROOMS.update().where(drawn).values(cover_of=""))
