"""All opt-outs and opt-ins, with their positions in the timeline; earlier rows count from the beginning.

Revision ID: 0022
Revises: 0021
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
COPY = """
    INSERT INTO new_optouts (user_id, room_id, position, out, at, event_id)
    SELECT user_id, room_id, 0, TRUE, at, event_id FROM optouts
"""


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":  # where the names of keys are unique in the whole schema
        op.execute("ALTER TABLE optouts RENAME CONSTRAINT pk_optouts TO pk_old_optouts")
    op.create_table(
        "new_optouts",
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("room_id", sa.String(255), nullable=False),
        sa.Column("position", BIG, autoincrement=False, nullable=False),
        sa.Column("out", sa.Boolean(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("event_id", sa.String(255)),
        sa.PrimaryKeyConstraint("user_id", "room_id", "position", name=op.f("pk_optouts")),
    )
    op.execute(COPY)
    op.drop_table("optouts")
    op.rename_table("new_optouts", "optouts")
