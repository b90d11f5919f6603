"""Kinds of broadcasts in a soak: their steps, and what must become of them. Pure."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Way(StrEnum):
    PLAIN = "plain"
    PAUSED = "paused"  # and resumed: two runs
    SWAPPED = "swapped"  # two uploads overlap, and their numbers are swapped, as in Element Web
    LATE = "late"  # one chunk is sent after the stop
    EARLY_STOP = "early_stop"  # `stopped` is sent before the last chunk and does not count it
    DOUBLED = "doubled"  # the same media under the same number twice: a client that lost an answer
    LATE_KEY = "late_key"  # the bot gets the room's keys after the stop; encrypted rooms only
    CRASHED = "crashed"  # no stop, no end of the run
    CHUNK_REDACTED = "chunk_redacted"
    REDACTED = "redacted"  # the started event, while live


EVERYWHERE = tuple(way for way in Way if way is not Way.LATE_KEY)
TWO_RUNS = frozenset({Way.PAUSED})


class Does(StrEnum):
    SEND = "send"
    REPEAT = "repeat"
    REDACT = "redact"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    WITHDRAW = "withdraw"  # redact the started event
    GIVE_KEYS = "give_keys"


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a broadcast. `chunk` counts from 0 in the order of the audio, `number` is the sequence that is sent."""

    does: Does
    chunk: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class Fate:
    """The outcome that the contract promises: state, how it ended, whether there is an episode and an announcement.

    Without an episode there need not be a recording: a broadcast that is redacted early enough is never followed.
    """

    state: str
    ended_by: str | None
    episode: bool


WHOLE = Fate("complete", "stopped", episode=True)
FATES: Mapping[Way, Fate] = {
    **dict.fromkeys(Way, WHOLE),
    Way.CRASHED: Fate("incomplete", "abandoned", episode=True),
    Way.CHUNK_REDACTED: Fate("incomplete", "stopped", episode=True),
    Way.REDACTED: Fate("deleted", None, episode=False),
}


def steps(way: Way, chunks: int, chance: random.Random) -> tuple[Step, ...]:
    """List all steps after `started` of a broadcast of at least four chunks; the last chunk is the tail of its run."""
    return tuple(_steps(way, chunks, chance.randrange(1, chunks - 2)))


def _steps(way: Way, chunks: int, chosen: int) -> Iterator[Step]:
    """List the steps. `chosen` is neither the first chunk nor one of the last two."""
    last = chunks - 1
    in_order = [Step(Does.SEND, chunk, chunk + 1) for chunk in range(chunks)]
    stop = Step(Does.STOP)
    match way:
        case Way.PAUSED:
            yield from in_order[: chunks // 2]
            yield Step(Does.PAUSE)
            yield Step(Does.RESUME)
            yield from (*in_order[chunks // 2 :], stop)
        case Way.SWAPPED:
            early, late = Step(Does.SEND, chosen + 1, chosen + 1), Step(Does.SEND, chosen, chosen + 2)
            yield from (*in_order[:chosen], early, late, *in_order[chosen + 2 :], stop)
        case Way.LATE:
            yield from (*in_order[:chosen], *in_order[chosen + 1 :], stop, in_order[chosen])
        case Way.EARLY_STOP:
            yield from (*in_order[:last], stop, in_order[last])
        case Way.DOUBLED:
            again = Step(Does.REPEAT, chosen, chosen + 1)
            yield from (*in_order[: chosen + 1], again, *in_order[chosen + 1 :], stop)
        case Way.LATE_KEY:
            yield from (*in_order, stop, Step(Does.GIVE_KEYS))
        case Way.CRASHED:
            yield from in_order[:last]
        case Way.CHUNK_REDACTED:
            yield from (*in_order, Step(Does.REDACT, chosen), stop)
        case Way.REDACTED:
            yield from (*in_order[:chosen], Step(Does.WITHDRAW), *in_order[chosen:], stop)
        case _:
            yield from (*in_order, stop)
