"""Alembic's entry: run by `storage.revisions`, which gives the connection, its transaction begun.

Alembic sees that transaction and neither begins nor commits one of its own.
"""

from alembic import context

from storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
