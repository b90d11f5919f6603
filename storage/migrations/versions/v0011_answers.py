"""Column for the homeserver's answers in place of usable media. Chunks that were given up are asked for again.

Revision ID: 0011
Revises: 0010
"""

import json
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

NEVER_CAME_BACK = """
    SELECT event_id, room_id, broadcaster FROM recordings
    WHERE state != 'deleted'
    AND EXISTS (
        SELECT 1 FROM chunks WHERE chunks.recording_id = recordings.id AND chunks.source IS NULL
        AND (chunks.state = 'damaged' OR chunks.state = 'refused' AND chunks.reason != 'beyond_limit')
    )
    AND NOT EXISTS (
        SELECT 1 FROM jobs WHERE jobs.kind = 'follow' AND jobs.subject = recordings.event_id AND jobs.state = 'ready'
    )
"""
"""Recordings with chunks that no job asks for: where their media are stands in their events alone."""


def upgrade() -> None:
    op.add_column("chunks", sa.Column("answer", sa.String(length=160), nullable=True))
    jobs = sa.table(
        "jobs",
        *(sa.column(name, sa.String()) for name in ("kind", "subject", "turn", "payload", "state")),
        *(sa.column(name, sa.DateTime()) for name in ("run_at", "changed_at")),
        sa.column("attempts", sa.Integer()),
    )
    now = datetime.now(UTC).replace(tzinfo=None)
    follow = [
        {
            "kind": "follow",
            "subject": row.event_id,
            "turn": row.room_id,
            "payload": json.dumps({"room_id": row.room_id, "sender": row.broadcaster}),
            "state": "ready",
            "run_at": now,
            "attempts": 0,
            "changed_at": now,
        }
        for row in op.get_bind().execute(sa.text(NEVER_CAME_BACK))
    ]
    if follow:
        op.bulk_insert(jobs, follow)
