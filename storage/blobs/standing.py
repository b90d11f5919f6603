"""The standing of the media store with this process: since when it has failed, by the outcome of the last request."""

from datetime import UTC, datetime

from storage import counted

_away_since: datetime | None = None


def note(*, answered: bool) -> None:
    """Note the outcome of a request."""
    global _away_since
    counted.MEDIA_STORE.add("answered" if answered else "failed")
    if answered:
        _away_since = None
    elif _away_since is None:
        _away_since = datetime.now(UTC)


def away_since() -> datetime | None:
    """Return since when every request has failed; None where the last one was answered."""
    return _away_since
