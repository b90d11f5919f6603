"""Tracks: the frames of recordings, and what was decided of each piece; and chapters"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("recordings", sa.Column("resumes", sa.JSON(), server_default="[]", nullable=False))
    op.add_column("episodes", sa.Column("chapters", sa.JSON(), server_default="[]", nullable=False))
    op.add_column("episodes", sa.Column("titled", sa.Text(), nullable=True))
    op.create_table(
        "tracks",
        sa.Column("recording_id", BIG, autoincrement=False, nullable=False),
        sa.Column("channels", sa.Integer(), nullable=False),
        sa.Column("kbps", sa.Integer(), nullable=False),
        sa.Column("target_lufs", sa.Float(), nullable=True),
        sa.Column("start_db", sa.Float(), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("live_from", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["recording_id"], ["recordings.id"], name=op.f("fk_tracks_recording_id_recordings"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("recording_id", name=op.f("pk_tracks")),
    )
    op.create_table(
        "cuts",
        sa.Column("recording_id", BIG, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("samples", BIG, nullable=False),
        sa.Column("blob", sa.String(length=64), nullable=True),
        sa.Column("container", sa.String(length=32), nullable=False),
        sa.Column("continues", sa.Boolean(), nullable=False),
        sa.Column("gains", sa.LargeBinary(), nullable=True),
        sa.Column("level", sa.Text(), nullable=True),
        sa.Column("off_by", BIG, nullable=False),
        sa.Column("peaks", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["recording_id"], ["tracks.recording_id"], name=op.f("fk_cuts_recording_id_tracks"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("recording_id", "ordinal", name=op.f("pk_cuts")),
    )
    op.create_table(
        "extents",
        sa.Column("recording_id", BIG, nullable=False),
        sa.Column("first", BIG, nullable=False),
        sa.Column("frames", BIG, nullable=False),
        sa.Column("blob", sa.String(length=64), nullable=False),
        sa.Column("offset", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["recording_id"], ["tracks.recording_id"], name=op.f("fk_extents_recording_id_tracks"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("recording_id", "first", name=op.f("pk_extents")),
    )
    with op.batch_alter_table("extents", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_extents_blob"), ["blob"], unique=False)
