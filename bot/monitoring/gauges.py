"""The figures that are looked at when somebody asks: what each is called, and where its value comes from.

Times are Unix time, so that Prometheus says how long ago they were.
"""

import platform
import resource
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.metadata import version

from bot import health
from storage.blobs import standing
from storage.overview import STORED, Overview, Totals
from storage.records import ChunkState, JobKind, RecordingState
from storage.tally import Labels

NOT_IN_ROWS = (ChunkState.MISSING, ChunkState.AWAY, ChunkState.UNRECORDED)
"""States that only ledgers have."""


@dataclass(frozen=True, slots=True)
class Probes:
    """Questions to the parts of this process. None: it has no such part. `calls`: calls and speakers in them;
    `connections`: open ones, and the most; `owns`: whether the Matrix session is this process's."""

    works: Callable[[], bool]
    owns: Callable[[], bool] = lambda: False
    heard_at: Callable[[], datetime | None] | None = None
    wishes_troubled_since: Callable[[], datetime | None] = lambda: None
    refused: Callable[[], bool] = lambda: False
    calls: Callable[[], tuple[int, int]] | None = None
    unwritten_since: Callable[[], datetime | None] = lambda: None
    connections: Callable[[], tuple[int, int]] | None = None
    streams: Callable[[], int] | None = None
    media_away_since: Callable[[], datetime | None] = standing.away_since


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was looked at. None: the database or the disk did not answer, or this process has none."""

    probes: Probes
    database: str
    works: bool
    problems: frozenset[str]
    min_free_bytes: int
    overview: Overview | None = None
    totals: Totals | None = None
    database_bytes: int | None = None
    free_bytes: int | None = None


Values = Iterator[tuple[Labels, float]]


@dataclass(frozen=True, slots=True)
class Gauge:
    """A figure as it is now; a `total` only grows."""

    name: str
    meaning: str
    values: Callable[[Seen], Values]
    labels: tuple[str, ...] = ()

    @property
    def is_total(self) -> bool:
        return self.name.endswith("_total")


def _one(value: Callable[[Seen], float | None]) -> Callable[[Seen], Values]:
    def values(seen: Seen) -> Values:
        if (found := value(seen)) is not None:
            yield (), found

    return values


def _of(read: Callable[[Overview], float | None]) -> Callable[[Seen], Values]:
    return _one(lambda seen: read(seen.overview) if seen.overview is not None else None)


def _time(at: datetime | None) -> float | None:
    return at.timestamp() if at is not None else None


def _build(seen: Seen) -> Values:
    yield (_version(), platform.python_version(), seen.database), 1


@cache
def _version() -> str:
    return version("matrix-aircheck")


def _problems(seen: Seen) -> Values:
    for name in health.NAMES:
        yield (name,), name in seen.problems


def _jobs(seen: Seen) -> Values:
    if seen.overview is not None:
        yield from seen.overview.jobs.items()


def _by_kind(read: Callable[[Overview], Mapping[JobKind, datetime]]) -> Callable[[Seen], Values]:
    def values(seen: Seen) -> Values:
        if seen.overview is not None:
            for kind, at in read(seen.overview).items():
                yield (kind,), at.timestamp()

    return values


def _recordings(seen: Seen) -> Values:
    if seen.overview is not None:
        for state in RecordingState:
            yield (state,), seen.overview.recordings.get(state, 0)


def _chunks(seen: Seen) -> Values:
    if seen.totals is not None:
        for state in ChunkState:
            if state not in NOT_IN_ROWS:
                yield (state,), seen.totals.chunks.get(state, 0)


def _stored(seen: Seen) -> Values:
    if seen.totals is not None:
        for what in STORED:
            yield (what,), seen.totals.stored.get(what, 0)


def _children_cpu(_: Seen) -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _probe(ask: Callable[[Probes], float | None]) -> Callable[[Seen], Values]:
    return _one(lambda seen: ask(seen.probes))


GAUGES = (
    Gauge(
        "aircheck_build_info",
        "Always 1. `version` of Aircheck, `python`, and `database`: `sqlite` or `postgresql`.",
        _build,
        ("version", "python", "database"),
    ),
    Gauge("aircheck_up", "1 where the process works: what `/healthz` answers 200 for.", _one(lambda seen: seen.works)),
    Gauge(
        "aircheck_owner",
        "1 where this process owns the Matrix session, 0 where it stands by or only serves.",
        _probe(lambda probes: probes.owns()),
    ),
    Gauge(
        "aircheck_problem",
        "1 where something is wrong, 0 where it is not. `problem`: "
        + ", ".join(f"`{name}`" for name in health.NAMES)
        + "; `/healthz` says more.",
        _problems,
        ("problem",),
    ),
    Gauge(
        "aircheck_homeserver_heard_timestamp_seconds",
        "When the homeserver last answered a request to `/sync`; absent before the first answer.",
        _probe(lambda probes: _time(probes.heard_at()) if probes.heard_at is not None else None),
    ),
    Gauge(
        "aircheck_journal_events_total",
        "Events that the journal has taken in.",
        _of(lambda it: it.journaled),
    ),
    Gauge("aircheck_journal_unhandled", "Events that are stored and not handled yet.", _of(lambda it: it.unhandled)),
    Gauge(
        "aircheck_journal_oldest_unhandled_timestamp_seconds",
        "When the oldest event came that is not handled yet; absent where none waits.",
        _of(lambda it: _time(it.oldest_unhandled)),
    ),
    Gauge("aircheck_keys_waiting", "Encrypted events that wait for their room key.", _of(lambda it: it.sealed)),
    Gauge(
        "aircheck_keys_oldest_waiting_timestamp_seconds",
        "When the oldest event came that waits for its room key; absent where none waits.",
        _of(lambda it: _time(it.oldest_sealed)),
    ),
    Gauge("aircheck_jobs", "Jobs by `state`: `ready`, `running`, `failed` (given up).", _jobs, ("kind", "state")),
    Gauge(
        "aircheck_jobs_oldest_due_timestamp_seconds",
        "When the job was due that has waited longest; absent where none of its kind is due.",
        _by_kind(lambda it: it.oldest_due),
        ("kind",),
    ),
    Gauge(
        "aircheck_jobs_oldest_running_timestamp_seconds",
        "When the job that has run longest began, or stored progress; absent where none of its kind runs.",
        _by_kind(lambda it: it.running_since),
        ("kind",),
    ),
    Gauge("aircheck_recordings", "Recordings by `state`, as `aircheck recordings` shows it.", _recordings, ("state",)),
    Gauge("aircheck_rooms", "Rooms that the bot is in, without direct chats.", _of(lambda it: it.rooms)),
    Gauge("aircheck_rooms_recorded", "Rooms whose broadcasts are recorded.", _of(lambda it: it.recorded_rooms)),
    Gauge("aircheck_rooms_public", "Rooms whose podcast is public.", _of(lambda it: it.public_rooms)),
    Gauge(
        "aircheck_chunks",
        "Chunks by `state`, as `aircheck recordings --json` shows it; looked at every five minutes at most.",
        _chunks,
        ("state",),
    ),
    Gauge(
        "aircheck_stored_bytes",
        "Bytes in the media store. `what`: `chunks`, `stems`, `episodes`, `originals`. Looked at every five minutes at"
        " most.",
        _stored,
        ("what",),
    ),
    Gauge(
        "aircheck_episodes",
        "Episodes; looked at every five minutes at most.",
        _one(lambda seen: seen.totals.episodes if seen.totals is not None else None),
    ),
    Gauge(
        "aircheck_episodes_lost",
        "Episodes whose file is gone or cut; looked at every five minutes at most.",
        _one(lambda seen: seen.totals.lost if seen.totals is not None else None),
    ),
    Gauge(
        "aircheck_calls",
        "Calls that the bot is in.",
        _probe(lambda probes: probes.calls()[0] if probes.calls is not None else None),
    ),
    Gauge(
        "aircheck_call_users",
        "Users in these calls, without the bot.",
        _probe(lambda probes: probes.calls()[1] if probes.calls is not None else None),
    ),
    Gauge(
        "aircheck_http_connections",
        "Open connections of the web server.",
        _probe(lambda probes: probes.connections()[0] if probes.connections is not None else None),
    ),
    Gauge(
        "aircheck_http_connections_most",
        "The number of connections that may be open.",
        _probe(lambda probes: probes.connections()[1] if probes.connections is not None else None),
    ),
    Gauge(
        "aircheck_http_streams",
        "Endless MP3 streams that run. Who listens by HLS makes requests with the route `live` instead.",
        _probe(lambda probes: probes.streams() if probes.streams is not None else None),
    ),
    Gauge("aircheck_database_bytes", "Size of the database.", _one(lambda seen: seen.database_bytes)),
    Gauge("aircheck_disk_free_bytes", "Free bytes where `storage.directory` lies.", _one(lambda seen: seen.free_bytes)),
    Gauge(
        "aircheck_disk_min_free_bytes",
        "The setting `storage.min_free_bytes`: below it nothing new is fetched.",
        _one(lambda seen: seen.min_free_bytes),
    ),
    Gauge("aircheck_children_cpu_seconds_total", "CPU time of children that have ended: ffmpeg.", _one(_children_cpu)),
)
