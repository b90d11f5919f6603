"""The sentences for failures of PostgreSQL that are not bugs of ours. They name the setting, never its value."""

import os

import asyncpg
from sqlalchemy.exc import DBAPIError

from storage.errors import DiskFullError, StoreBusyError, StoreError, StoreTooNewError

SETTING = "storage.database_url"
NOT_UNDERSTOOD = f"{SETTING} is no address that PostgreSQL's driver understands"
ONE_RUNNING = "uq_jobs_running"
"""The index that two claims of jobs of one name run into; both transactions can be repeated."""
FULL = {"53100"}
DAMAGED = {"XX001", "XX002"}
READ_ONLY = {"25006"}
REFUSED = {"42501"}
BUSY = {
    "40001": "transactions met",
    "40P01": "transactions met",
    "53200": "the server is out of memory",
    "53300": "the server accepts no more connections",
    "55P03": "it is locked",
    "57014": "the statement was cancelled",
    "57P01": "the server is shutting down",
    "57P02": "the server crashed",
    "57P03": "the server is starting or stopping",
    "25P03": "the transaction took too long",
    "25P04": "the transaction took too long",
}


def connecting_failed(error: Exception) -> StoreError:
    """Return the reason why no connection could be opened."""
    match error:
        case asyncpg.InvalidAuthorizationSpecificationError():
            return StoreError(f"PostgreSQL refuses the user or the password in {SETTING}")
        case asyncpg.InvalidCatalogNameError():
            return StoreError(f"the database that {SETTING} names does not exist")
        case asyncpg.InsufficientPrivilegeError():
            return StoreError(f"PostgreSQL refuses the user in {SETTING} this database")
        case asyncpg.PostgresError():
            return _busy(error.sqlstate)
        case asyncpg.InterfaceError() | ValueError():
            return StoreError(NOT_UNDERSTOOD)
        case TimeoutError():
            return StoreBusyError(f"PostgreSQL can't be reached at the address in {SETTING}: no answer")
        case _:
            return StoreBusyError(f"PostgreSQL can't be reached at the address in {SETTING}: {_why(error)}")


def statement_failed(error: BaseException) -> StoreError | None:
    """Return the reason for a failed statement; None when it is a bug of ours."""
    if isinstance(error, TimeoutError | OSError):
        return _lost()
    if not isinstance(error, DBAPIError):
        return None
    state = sqlstate(error)
    if state in FULL:
        return DiskFullError("PostgreSQL's disk is full: the database could not be written")
    if state in DAMAGED:
        return StoreError("PostgreSQL says that the database is damaged: restore it from a backup")
    if state in READ_ONLY:
        return StoreError(f"the PostgreSQL server of {SETTING} only lets itself be read: name the primary one")
    if state in REFUSED:
        return StoreError(f"the user in {SETTING} lacks rights in the database: make it the database's owner")
    if state in BUSY:
        return _busy(state)
    if getattr(getattr(error.orig, "__cause__", None), "constraint_name", None) == ONE_RUNNING:
        return StoreBusyError("the database can't be used now: two claims of jobs met")
    if error.connection_invalidated or (state or "").startswith("08") or "connection is closed" in str(error.orig):
        return _lost()
    return None


def sqlstate(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def newer() -> StoreTooNewError:
    return StoreTooNewError(
        f"the database of {SETTING} was written by a newer Aircheck: update the program, or restore a backup from"
        " before the update"
    )


def _busy(state: str | None) -> StoreBusyError:
    return StoreBusyError(f"the database can't be used now: {BUSY.get(state or '', f'PostgreSQL reports {state}')}")


def _lost() -> StoreBusyError:
    return StoreBusyError("the database can't be used now: the connection to PostgreSQL was lost")


def _why(error: Exception) -> str:
    """Return the system's reason, without the address that Python's own text adds."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return type(error).__name__
