"""The place of a store, as people read it."""

from pathlib import Path

import pytest

from storage.place import Place


@pytest.mark.parametrize(
    ("address", "where"),
    [
        (None, "/var/lib/aircheck"),
        ("postgresql+asyncpg://aircheck:word@db.example:5433/archive", "db.example:5433/archive"),
        ("postgresql+asyncpg://db.example/archive?ssl=require", "db.example/archive"),
        ("postgresql+asyncpg://aircheck:a%40b@/archive?host=db.example", "db.example/archive"),
        (
            "postgresql+asyncpg://me@/archive?host=/run/postgresql",
            "the database archive behind the socket in /run/postgresql",
        ),
        ("postgresql+asyncpg://%2Frun%2Fpg/archive", "the database archive behind the socket in /run/pg"),
        ("postgresql+asyncpg:///archive", "the database archive behind the socket of PostgreSQL on its machine"),
    ],
)
def test_where_the_rows_lie_is_said_without_user_and_password(address: str | None, where: str) -> None:
    """The folder, the server and its database, or the database and the socket where there is no name of a server."""
    assert Place(Path("/var/lib/aircheck"), address).where == where
