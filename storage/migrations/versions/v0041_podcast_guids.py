"""No `podcast:guid` for rooms that were never public: they get one, of their address, when they first are.

A room that was public keeps its GUID for ever. Signs of it: it is public, the audit log says so, or a recording is
public. A podcast of several rooms bears the first one's, so all of them keep theirs.

Revision ID: 0041
Revises: 0040
"""

from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        UPDATE rooms SET podcast_guid = ''
        WHERE visibility = 'private'
          AND public_since IS NULL
          AND NOT EXISTS (SELECT 1 FROM changes WHERE changes.room_id = rooms.room_id AND changes.what = 'publish'
                          AND changes.subject IS NULL AND 'public' IN (changes.before, changes.after))
          AND NOT EXISTS (SELECT 1 FROM recordings WHERE recordings.room_id = rooms.room_id AND recordings.public)
          AND NOT EXISTS (SELECT 1 FROM heirs WHERE rooms.room_id IN (heirs.room_id, heirs.heir))
        """
    )
