"""The problems of a running bot, judged by its vital signs: each with plain words, and advice. Pure.

No name, id or address is part of one. A problem is something that lasts and that somebody can do something about:
a homeserver that is away for a moment, or a job that is late by a minute, is none.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

SILENT_FOR = timedelta(minutes=3)
"""The time without an answer to /sync, which comes every 30 s at least."""
UNHANDLED_FOR = timedelta(minutes=5)
DUE_FOR = timedelta(minutes=15)
HANGS_FOR = timedelta(hours=6)
"""The time in which any job ends, or stores progress."""
KEYLESS_FOR = timedelta(hours=1)
MEDIA_AWAY_FOR = timedelta(minutes=1)
UNKEPT_FOR = timedelta(minutes=15)
UNWRITTEN_FOR = timedelta(minutes=1)
"""The time for which a call's sound waits in memory at most; what comes after that is lost."""
UNANSWERED_FOR = timedelta(seconds=2)
STUCK_FOR = timedelta(seconds=30)
"""The time after which a database or disk that does not answer means that the bot does not work."""
NEARLY_FULL = 0.9
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Vitals:
    """The vital signs. None: not known, or not of this process. `hears`: whether the session is of this process;
    `unanswered_since`: when a question to the database or its disk began that is not answered; `media_away_since`:
    the same of the media store; `unkept_since`: since when wishes could not be kept in the bot's account data;
    `unwritten_since`: since when sound of a call waits to be written."""

    now: datetime
    started_at: datetime
    hears: bool = True
    heard_at: datetime | None = None
    refused: bool = False
    unkept_since: datetime | None = None
    unhandled_since: datetime | None = None
    unwritten_since: datetime | None = None
    due_since: datetime | None = None
    due_kind: str | None = None
    running_since: datetime | None = None
    running_kind: str | None = None
    keyless: int = 0
    keyless_since: datetime | None = None
    unanswered_since: datetime | None = None
    media_away_since: datetime | None = None
    free_bytes: int | None = None
    min_free_bytes: int = 0
    full_rooms: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong. `since`: None where only the observer can know."""

    what: str
    detail: str
    advice: str
    since: datetime | None = None

    def to_json(self, *, details: bool) -> dict[str, Any]:
        more = {"detail": self.detail, "do": self.advice} if details else {}
        return {"what": self.what, "since": _written(self.since), **more}


@dataclass(frozen=True, slots=True)
class Report:
    """The state of a process. `works`: whether it can do what it is for."""

    works: bool
    heard_at: datetime | None
    problems: tuple[Problem, ...] = ()

    def to_json(self, *, details: bool) -> dict[str, Any]:
        """Return what `/healthz` answers: to strangers only what is wrong and since when."""
        return {
            "status": "ok" if self.works else "not working",
            "homeserver_last_heard": _written(self.heard_at),
            "problems": [problem.to_json(details=details) for problem in self.problems],
        }


NAMES = ("homeserver", "refused", "wishes", "events", "calls", "jobs", "keys", "database", "media", "disk", "rooms")
"""The words for all that may be wrong."""


def is_stuck(vitals: Vitals) -> bool:
    """Tell whether the database or the disk has not answered for so long that nothing can work."""
    return vitals.unanswered_since is not None and vitals.now - vitals.unanswered_since >= STUCK_FOR


def problems(vitals: Vitals) -> Iterator[Problem]:
    """Yield what is wrong, the cause of others first."""
    yield from _of_storage(vitals)
    yield from _of_homeserver(vitals)
    yield from _of_work(vitals)


def _of_storage(vitals: Vitals) -> Iterator[Problem]:
    if _lasts(vitals, vitals.unanswered_since, UNANSWERED_FOR):
        yield Problem(
            "database",
            "The database, or the disk of storage.directory, has not answered for"
            f" {_for(vitals, vitals.unanswered_since)}.",
            "Look at the disk, or at the PostgreSQL server: load, locks, connections.",
            vitals.unanswered_since,
        )
    if _lasts(vitals, vitals.media_away_since, MEDIA_AWAY_FOR):
        yield Problem(
            "media",
            "The media store does not answer. Nothing new is stored, and episodes can't be read.",
            "Look at the address and the keys of storage.media_url; `aircheck check` tests them.",
            vitals.media_away_since,
        )
    if vitals.free_bytes is not None and vitals.free_bytes < vitals.min_free_bytes:
        yield Problem(
            "disk",
            f"{vitals.free_bytes // MIB} MiB are free, less than storage.min_free_bytes"
            f" ({vitals.min_free_bytes // MIB} MiB). Nothing new is fetched.",
            "Free space, or move storage.directory to a larger disk. What waits is fetched by itself then.",
        )
    if vitals.full_rooms:
        yield Problem(
            "rooms",
            f"{vitals.full_rooms} rooms use more than {NEARLY_FULL:.0%} of storage.max_bytes_per_room.",
            "Raise the setting, or have the rooms delete recordings; `aircheck rooms` shows which.",
        )


def _of_homeserver(vitals: Vitals) -> Iterator[Problem]:
    if not vitals.hears:
        return
    heard_at = vitals.heard_at or vitals.started_at
    if vitals.refused:
        yield Problem(
            "refused",
            "The homeserver refuses the bot's requests. Nothing new is heard.",
            "The log has the homeserver's error code: is the account suspended, or the proxy in front changed?",
            heard_at,
        )
    elif _lasts(vitals, heard_at, SILENT_FOR):
        yield Problem(
            "homeserver",
            f"The homeserver has not answered for {_for(vitals, heard_at)}. Nothing new is heard; nothing is lost.",
            "Look at the homeserver, and at the way to it; `aircheck check` tests both.",
            heard_at,
        )
    elif _lasts(vitals, vitals.unkept_since, UNKEPT_FOR):
        yield Problem(
            "wishes",
            f"For {_for(vitals, vitals.unkept_since)} the homeserver has not taken or given the bot's account data.",
            "The log says why. Until it is mended, what members wish (`optout`, `delete`, …) is in the store alone, and"
            " a restore of an older backup would not know it.",
            vitals.unkept_since,
        )


def _of_work(vitals: Vitals) -> Iterator[Problem]:
    if _lasts(vitals, vitals.unhandled_since, UNHANDLED_FOR):
        yield Problem(
            "events",
            f"Events have waited for {_for(vitals, vitals.unhandled_since)} to be handled.",
            "The log says what fails. A gap in a room's history that can't be read holds up its room for some time.",
            vitals.unhandled_since,
        )
    if _lasts(vitals, vitals.unwritten_since, UNWRITTEN_FOR):
        yield Problem(
            "calls",
            f"Nothing was written of a call, or of somebody in it, for {_for(vitals, vitals.unwritten_since)}. What is"
            " said there is lost.",
            "The log names the call and what failed. Is the disk of storage.directory full? If not, restart `aircheck"
            " run`: the bot joins the call again and records on.",
            vitals.unwritten_since,
        )
    if _lasts(vitals, vitals.running_since, HANGS_FOR):
        yield Problem(
            "jobs",
            f"A job ({vitals.running_kind}) has run for {_for(vitals, vitals.running_since)} without progress.",
            "Restart the process that runs it, `aircheck run` or an `aircheck work`: it is taken up again. If it hangs"
            " once more, `--profile` shows where.",
            vitals.running_since,
        )
    elif _lasts(vitals, vitals.due_since, DUE_FOR):
        yield Problem(
            "jobs",
            f"A job ({vitals.due_kind}) has been due for {_for(vitals, vitals.due_since)}.",
            "The machine may be too slow for its work, or something long runs: see `aircheck_jobs` and the log.",
            vitals.due_since,
        )
    if vitals.keyless and _lasts(vitals, vitals.keyless_since, KEYLESS_FOR):
        yield Problem(
            "keys",
            f"{vitals.keyless} encrypted events have waited for their keys, the oldest for"
            f" {_for(vitals, vitals.keyless_since)}.",
            "`aircheck recordings` shows which recordings wait, `aircheck check` whether clients trust the device;"
            " `aircheck keys import` takes keys from another client.",
            vitals.keyless_since,
        )


def _lasts(vitals: Vitals, since: datetime | None, longest: timedelta) -> bool:
    return since is not None and vitals.now - since >= longest


def _for(vitals: Vitals, since: datetime | None) -> str:
    """Say how long something has lasted."""
    seconds = int((vitals.now - (since or vitals.now)).total_seconds())
    for unit, length in (("days", 172_800), ("hours", 7200), ("minutes", 120)):
        if seconds >= length:
            return f"{seconds // {'days': 86_400, 'hours': 3600, 'minutes': 60}[unit]} {unit}"
    return f"{seconds} s"


def _written(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at is not None else None
