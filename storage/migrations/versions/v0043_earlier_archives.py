"""Catching up with archives of before: episodes without original sound, and personal addresses that ended.

Revision ID: 0043
Revises: 0042
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None

LISTENERS = sa.table("listeners", sa.column("generation", sa.Integer()))
JOBS = sa.table(
    "jobs",
    *(sa.column(name, sa.String()) for name in ("kind", "subject", "state")),
    sa.column("payload", sa.JSON()),
    *(sa.column(name, sa.DateTime()) for name in ("run_at", "changed_at")),
    sa.column("attempts", sa.Integer()),
)


def upgrade() -> None:
    op.add_column("episodes", sa.Column("unjoined", sa.String(64)))
    now = sa.literal(datetime.now(UTC).replace(tzinfo=None), sa.DateTime())
    values: dict[str, sa.ColumnElement[Any]] = {
        "kind": sa.literal("note_ended"),
        "subject": sa.literal("all"),
        "state": sa.literal("ready"),
        "payload": sa.literal({}, sa.JSON()),
        "run_at": now,
        "changed_at": now,
        "attempts": sa.literal(0),
    }
    renewed = sa.exists().where(LISTENERS.c.generation > 1)
    chosen = sa.select(*values.values()).where(renewed)
    op.execute(JOBS.insert().from_select(list(values), chosen))
