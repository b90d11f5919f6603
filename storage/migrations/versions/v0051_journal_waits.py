"""Events that wait to be handled, or for their keys, are found without a look at the whole journal.

Revision ID: 0051
Revises: 0050
"""

import sqlalchemy as sa
from alembic import op

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_journal_handled", "journal")
    for name, columns, condition in (
        ("ix_journal_waits", ["position"], "NOT handled"),
        ("ix_journal_waits_in", ["room_id", "position"], "NOT handled"),
        ("ix_journal_sealed", ["received_at"], "NOT (session_id IS NULL OR event IS NULL)"),
    ):
        where = sa.text(condition)
        op.create_index(name, "journal", columns, sqlite_where=where, postgresql_where=where)
