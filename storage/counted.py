"""The counts of the storage."""

from storage.tally import Count, Durations

_TRANSACTION_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)

WRITES = Durations(
    "aircheck_database_write_seconds",
    "Length of write transactions, to the end of their commit. With PostgreSQL the wait for writers of other processes"
    " is in it.",
    bounds=_TRANSACTION_S,
)
WRITE_WAITS = Durations(
    "aircheck_database_write_wait_seconds",
    "Time for which a write transaction waited for the one before it, in this process.",
    bounds=_TRANSACTION_S,
)
READS = Durations(
    "aircheck_database_read_seconds",
    "Length of read transactions.",
    bounds=_TRANSACTION_S,
)
TROUBLES = Count(
    "aircheck_database_failures_total",
    "Transactions that the database refused. `why`: `full` (the disk), `busy` (anything else that may pass).",
    why=("full", "busy"),
)
MEDIA_STORE = Count(
    "aircheck_media_store_requests_total",
    "Requests to a media store of `storage.media_url`. `outcome`: `answered`, `failed`.",
    outcome=("answered", "failed"),
)

ALL: tuple[Count | Durations, ...] = (WRITES, WRITE_WAITS, READS, TROUBLES, MEDIA_STORE)
