"""Column types: how values of `storage.records` are stored."""

import dataclasses
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    String,
    TypeDecorator,
)

from storage.records import (
    Away,
    CallEventKind,
    ChunkFacts,
    Container,
    Credit,
    DelayedRelease,
    DurationMs,
    EncryptedFile,
    EndedBy,
    Floor,
    FloorPhase,
    FloorRequest,
    Hole,
    LeftBy,
    Loss,
    Mark,
    MediaSource,
    MxcUri,
    OggFacts,
    PodcastTexts,
    Position,
    Raised,
    RecordingState,
    Retention,
    Samples,
    SavedLevel,
    Stem,
    StemPart,
    Timing,
    Transmission,
    Turn,
    Unheard,
    UserId,
)


class Utc(TypeDecorator[datetime]):
    """An aware datetime, stored in UTC. A naive one raises ValueError."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class Word(TypeDecorator[StrEnum]):
    """A StrEnum, stored as its value."""

    impl = String(32)
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        return None if value is None else self.kind(value)


class Source(TypeDecorator[MediaSource]):
    """A MediaSource as JSON."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: MediaSource | None, dialect: Dialect) -> Any:
        return None if value is None else dataclasses.asdict(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> MediaSource | None:
        if value is None:
            return None
        file = value["file"]
        return MediaSource(MxcUri(value["mxc"]), EncryptedFile(**file) if file else None)


class Facts(TypeDecorator[ChunkFacts]):
    """ChunkFacts as JSON."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: ChunkFacts | None, dialect: Dialect) -> Any:
        return None if value is None else dataclasses.asdict(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> ChunkFacts | None:
        if value is None:
            return None
        ogg = value["ogg"]
        return ChunkFacts(
            container=Container(value["container"]),
            timing=Timing(value["timing"]),
            samples=Samples(value["samples"]),
            sample_rate=value["sample_rate"],
            channels=value["channels"],
            ogg=OggFacts(**ogg) if ogg else None,
            holes=tuple(Hole(**hole) for hole in value.get("holes", ())),
            told=value.get("told"),
            unrecorded=tuple(Hole(**hole) for hole in value.get("unrecorded", ())),
        )


class Lost(TypeDecorator[Loss]):
    """A Loss as JSON."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Loss | None, dialect: Dialect) -> Any:
        return None if value is None else dataclasses.asdict(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Loss | None:
        if value is None:
            return None
        first = tuple((Samples(position), Samples(samples)) for position, samples in value["first"])
        return Loss(Samples(value["samples"]), value["gaps"], first, value["end"])


class Positions(TypeDecorator[tuple[Position, ...]]):
    """Positions in the timeline as JSON."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: tuple[Position, ...] | None, dialect: Dialect) -> Any:
        return list(value or ())

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[Position, ...]:
        return tuple(map(Position, value or ()))


class Chapters(TypeDecorator[tuple[Mark, ...]]):
    """Marks as JSON: pairs of position and title."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: tuple[Mark, ...] | None, dialect: Dialect) -> Any:
        return [[mark.at, mark.title] for mark in value or ()]

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[Mark, ...]:
        return tuple(Mark(DurationMs(at), title) for at, title in value or ())


class Credits(TypeDecorator[tuple[Credit, ...]]):
    """Credits as JSON: user id, display name, and how long they are heard where that is known."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: tuple[Credit, ...] | None, dialect: Dialect) -> Any:
        return [
            [credit.user_id, credit.name, *([] if credit.heard is None else [credit.heard])] for credit in value or ()
        ]

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[Credit, ...]:
        return tuple(Credit(UserId(user_id), name, *heard) for user_id, name, *heard in value or ())


class Texts(TypeDecorator[PodcastTexts]):
    """PodcastTexts as JSON."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: PodcastTexts | None, dialect: Dialect) -> Any:
        return dataclasses.asdict(value or PodcastTexts())

    def process_result_value(self, value: Any, dialect: Dialect) -> PodcastTexts:
        return PodcastTexts(**(value or {}))


class Kept(TypeDecorator[Retention]):
    """A Retention as JSON."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Retention | None, dialect: Dialect) -> Any:
        return dataclasses.asdict(value or Retention())

    def process_result_value(self, value: Any, dialect: Dialect) -> Retention:
        return Retention(**(value or {}))


class Users(TypeDecorator[tuple[UserId, ...]]):
    """User ids as JSON; None stays NULL."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: tuple[UserId, ...] | None, dialect: Dialect) -> Any:
        return None if value is None else list(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[UserId, ...] | None:
        return None if value is None else tuple(map(UserId, value))


class Words(TypeDecorator[tuple[str, ...]]):
    """Words as JSON."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: Dialect) -> Any:
        return list(value or ())

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[str, ...]:
        return tuple(value or ())


class Transmissions(TypeDecorator[tuple[Transmission, ...]]):
    """Transmissions as JSON; times by RFC 3339."""

    impl = JSON
    cache_ok = True
    TIMES = ("started_at", "heard_at", "ended_at", "quiet_until", "yields_at")

    def process_bind_param(self, value: tuple[Transmission, ...] | None, dialect: Dialect) -> Any:
        times = self.TIMES
        return [
            dataclasses.asdict(part) | {name: at.isoformat() for name in times if (at := getattr(part, name))}
            for part in value or ()
        ]

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[Transmission, ...]:
        return tuple(self._read(part) for part in value or ())

    def _read(self, part: dict[str, Any]) -> Transmission:
        times = {name: datetime.fromisoformat(at) for name in self.TIMES if (at := part[name])}
        ended_by = EndedBy(part["ended_by"]) if part["ended_by"] else None
        return Transmission(**part | times | {"state": RecordingState(part["state"]), "ended_by": ended_by})


class Stems(TypeDecorator[tuple[Stem, ...]]):
    """Stems as JSON."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: tuple[Stem, ...] | None, dialect: Dialect) -> Any:
        return [dataclasses.asdict(stem) for stem in value or ()]

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[Stem, ...]:
        return tuple(
            Stem(**{**stem, "left_by": LeftBy(stem["left_by"]) if stem["left_by"] else None}) for stem in value or ()
        )


class StemParts(TypeDecorator[tuple[StemPart, ...]]):
    """StemParts as JSON: rows of their fields. None stays NULL."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: tuple[StemPart, ...] | None, dialect: Dialect) -> Any:
        return value or None

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[StemPart, ...]:
        return tuple(StemPart(*part) for part in value or ())


class Aways(TypeDecorator[tuple[Away, ...]]):
    """Aways as JSON: begin, end, and whether somebody was there."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: tuple[Away, ...] | None, dialect: Dialect) -> Any:
        return [[away.begins, away.ends, away.company] for away in value or ()]

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[Away, ...]:
        return tuple(Away(*away) for away in value or ())


class UnheardTimes(TypeDecorator[tuple[Unheard, ...]]):
    """Unheard times as JSON: rows of their fields."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: tuple[Unheard, ...] | None, dialect: Dialect) -> Any:
        return [[each.user_id, each.device_id, str(each.why), each.begins, each.ends] for each in value or ()]

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[Unheard, ...]:
        return tuple(Unheard(user, device, CallEventKind(why), *times) for user, device, why, *times in value or ())


class Turns(TypeDecorator[tuple[Turn, ...]]):
    """Turns as JSON."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: tuple[Turn, ...] | None, dialect: Dialect) -> Any:
        return [[turn.user_id, turn.name, turn.at, turn.samples] for turn in value or ()]

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[Turn, ...]:
        return tuple(Turn(*turn) for turn in value or ())


class Devices(TypeDecorator[tuple[str, ...]]):
    """Device ids as JSON; None stays NULL."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: Dialect) -> Any:
        return None if value is None else list(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[str, ...] | None:
        return None if value is None else tuple(value)


class Floors(TypeDecorator[Floor]):
    """A Floor as JSON."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Floor | None, dialect: Dialect) -> Any:
        floor = value or Floor()
        times = {name: _written(getattr(floor, name)) for name in ("since", "until", "guard_until")}
        return dataclasses.asdict(floor) | times

    def process_result_value(self, value: Any, dialect: Dialect) -> Floor:
        times = {name: _read(value[name]) for name in ("since", "until", "guard_until")}
        queue = tuple(FloorRequest(**request) for request in value["queue"])
        return Floor(**{**value, **times, "phase": FloorPhase(value["phase"]), "queue": queue})


class SavedLevels(TypeDecorator[tuple[SavedLevel, ...]]):
    """SavedLevels as JSON."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: tuple[SavedLevel, ...] | None, dialect: Dialect) -> Any:
        return [dataclasses.asdict(level) for level in value or ()]

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[SavedLevel, ...]:
        return tuple(SavedLevel(**level) for level in value or ())


class RaisedUsers(TypeDecorator[tuple[Raised, ...]]):
    """Raised members as JSON."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: tuple[Raised, ...] | None, dialect: Dialect) -> Any:
        return [dataclasses.asdict(raised) | {"lowered_at": _written(raised.lowered_at)} for raised in value or ()]

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[Raised, ...]:
        return tuple(Raised(**{**raised, "lowered_at": _read(raised["lowered_at"])}) for raised in value or ())


class Delayed(TypeDecorator[DelayedRelease]):
    """A DelayedRelease as JSON."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: DelayedRelease | None, dialect: Dialect) -> Any:
        return None if value is None else dataclasses.asdict(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> DelayedRelease | None:
        if value is None:
            return None
        return DelayedRelease(**{**value, "ids": tuple(value["ids"]), "stale": tuple(value.get("stale", ()))})


def _written(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat()


def _read(time: str | None) -> datetime | None:
    return None if time is None else datetime.fromisoformat(time)
