"""The place of a store: a folder, and for those who outgrew it a database and a media store by address. Pure."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

RESTORING = "restoring.json"
"""The file that lies in the folder of a store from the beginning of a restore to its end."""


ELSEWHERE = "in-postgresql"
"""The file that lies in the folder of a store from the time on that its rows are in a database by address."""


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of a store, and its addresses. The folder is always there, for what has no address of its own."""

    directory: Path
    database_url: str | None = None
    """`postgresql+asyncpg://…`; None: SQLite in the folder. It may hold a password."""
    media_url: str | None = None
    """`s3://BUCKET/PREFIX?endpoint=…&region=…`; None: files in the folder."""
    cache_bytes: int = 2 << 30
    """The size of the local copies of media by address."""

    @property
    def where(self) -> str:
        """The folder or the database in which the rows lie, without user and password."""
        if self.database_url is None:
            return str(self.directory)
        parts = urlsplit(self.database_url)
        named = parse_qs(parts.query).get("host", [])
        host, name = unquote(parts.netloc.rpartition("@")[2]) or ",".join(named), unquote(parts.path.lstrip("/"))
        if host and not host.startswith("/"):
            return f"{host}/{name}"
        return f"the database {name} behind the socket {f'in {host}' if host else 'of PostgreSQL on its machine'}"

    def __repr__(self) -> str:
        return f"Place({str(self.directory)!r})"
