"""Dates as feeds write them. Pure."""

from datetime import UTC, datetime
from email.utils import format_datetime


def rfc_2822(moment: datetime) -> str:
    """Format a date in UTC, in English whatever the locale."""
    return format_datetime(moment.astimezone(UTC))


def rfc_3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
