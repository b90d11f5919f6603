"""The sender's word on the time."""

from datetime import UTC, datetime

from storage.records import Json

LATEST_MS = 253_402_300_799_000  # the last second of the year 9999


def sent_at(event: Json) -> datetime | None:
    """`origin_server_ts` as a time; None when it is no sensible number of milliseconds."""
    value = event.get("origin_server_ts")
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LATEST_MS:
        return None
    return datetime.fromtimestamp(value // 1000, UTC).replace(microsecond=value % 1000 * 1000)
