"""Kinds of jobs that have new names.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

RENAMED = {
    "follow": "reread",
    "gap": "walk",
    "redacted": "redaction",
    "keys": "import_keys",
    "addresses": "renew_addresses",
}


def upgrade() -> None:
    jobs = sa.table("jobs", sa.column("kind", sa.String()))
    for old, new in RENAMED.items():
        op.execute(jobs.update().where(jobs.c.kind == old).values(kind=new))
