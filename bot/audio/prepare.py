"""The file that ffmpeg gets for one piece, and how much of the decoded sound is dropped.

A slice of an Ogg Opus stream is rebuilt as a file of its own. It begins with the last packets of the slice before it,
whose sound is skipped as pre-skip. So the decoder is in the state that it would have in the whole stream, and the
pre-skip of the header counts once per run. bot.audio.decodable leaves out damaged parts.
"""

import asyncio
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

from bot.audio.decodable import make_decodable
from bot.audio.opus import Stream, facts_of, filled, opus_streams
from bot.audio.opus_clock import Why
from bot.audio.opus_packets import duration
from bot.audio.opus_writer import OpusWriter
from bot.audio.plan import DECODER_PRE_ROLL, LocalFile, Piece, Sound, head_skip, pre_roll
from bot.audio.repair import Pause
from bot.errors import GiveUp
from storage.records import Container, OggFacts, Samples

_MAX_SAMPLES = 1 << 40
_MANY_PACKETS = 400


@dataclass(slots=True)
class RunEnd:
    """The end of an Ogg Opus run so far, as the next slice needs it to continue."""

    serial: int
    next_page: int
    end_granule: int
    tail: list[bytes] = field(default_factory=list)  # packets; at least the pre-roll, if there were as many


@dataclass(slots=True)
class Run:
    """The run at the border of pieces that decoding has reached: its end, once that is known."""

    known: bool = False
    end: RunEnd | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """The file to decode for one piece, and the end of the run after it."""

    path: Path | None  # None: there is nothing to decode
    run: RunEnd | None
    trim: int = 0  # samples to drop at the end of the decoded sound
    lost: int = 0  # samples of packets that no decoder takes
    pauses: tuple[Pause, ...] = ()
    reason: str | None = None


def prepare(sound: Sound, file: Path, run: RunEnd | None, rebuilt: Path | None) -> Prepared:
    """Prepare the file to decode for one piece: the chunk's file itself, or one that is written to `rebuilt`, for Ogg
    Opus and where the chunk is damaged. Without `rebuilt` only the end of the run is found. Blocking."""
    if sound.container is not Container.OGG_OPUS:
        return _whole(sound, file, rebuilt)
    try:
        return _rebuild(sound, file, run if sound.continues else None, rebuilt)
    except GiveUp as damage:
        return Prepared(None, None, reason=damage.reason)


async def run_before(pieces: Sequence[Piece], local: LocalFile, first: int) -> RunEnd | None:
    """Return the end of the run that the first sound from piece `first` on continues; None if it continues none."""
    sound = next((piece for piece in pieces[first:] if isinstance(piece, Sound)), None)
    if sound is None or not sound.continues:
        return None
    needed: list[Sound] = []
    heard = 0
    for piece in reversed(pieces[:first]):
        if isinstance(piece, Sound):
            needed.append(piece)
            heard += piece.samples
            if not piece.continues or heard >= DECODER_PRE_ROLL:
                break
    run: RunEnd | None = None
    for earlier in reversed(needed):
        async with local(earlier.blob) as file:
            run = (await asyncio.to_thread(prepare, earlier, file, run, None)).run
    return run


def _whole(sound: Sound, file: Path, rebuilt: Path | None) -> Prepared:
    file.stat()
    if rebuilt is None or not sound.samples:
        return Prepared(None, None)
    try:
        decodable = make_decodable(file, rebuilt, sound.container)
    except GiveUp:  # the chunk was good when it was inspected: the decoder will report the present damage
        return Prepared(file, None)
    return Prepared(decodable.path, None, pauses=decodable.repair.pauses_in(sound.samples))


def _rebuild(sound: Sound, path: Path, run: RunEnd | None, rebuilt: Path | None) -> Prepared:
    with path.open("rb") as file:
        streams = opus_streams(file, max_samples=_MAX_SAMPLES)
        facts = facts_of(streams).ogg
        if facts is not None and not facts.packet_samples:  # a tail that only ends its run
            return Prepared(None, run)
        file.seek(0)
        with rebuilt.open("wb") if rebuilt else io.BytesIO() as out:
            if facts is None:
                _, lost = _write(out, file, streams)
                return Prepared(rebuilt if sound.samples else None, None, lost=lost)
            before, skip = _pre_roll(sound, facts, run)
            tail, lost = _write(out, file, streams, before, skip)
    end = RunEnd(facts.serial, facts.last_page + 1, facts.end_granule, _last(tail))
    continues = run is not None and (run.serial, run.next_page) == (facts.serial, facts.first_page)
    trim = facts.end_trim(run.end_granule if run is not None and continues else None)
    return Prepared(rebuilt if sound.samples else None, end, trim, lost)


def _write(
    out: Any, file: BinaryIO, streams: Sequence[Stream], before: Sequence[bytes] = (), skip: int | None = None
) -> tuple[list[bytes], int]:
    """Write the sound of a chunk again, after some packets of the chunk before it. `skip`: the pre-skip to write; None:
    each stream keeps its own pre-skip and end trim.

    Return the last packets, and the samples of packets that no decoder takes.
    """
    channels = max(stream.head_or_usual.channels for stream in streams)
    tail, lost = list(before), 0
    for number, packets in groupby(filled(file, streams), lambda each: each[0]):
        stream = streams[number]
        head = stream.head_or_usual.with_channels(channels)  # else ffmpeg takes the second for another track
        writer = OpusWriter(out, head, pre_skip=head.pre_skip if skip is None else skip, serial=number + 1)
        for packet in before:
            writer.put(packet)
        for _, packet, fill in packets:
            if fill is not None:
                writer.rest(fill.samples, packet)
                lost += fill.samples if fill.why is Why.BAD else 0
                continue
            lost += writer.put(packet)
            tail.append(packet)
            if len(tail) > _MANY_PACKETS:  # not after each stream: there may be many
                tail = _last(tail)
        writer.close(stream.clock.finish().trim if skip is None else 0)
    return tail, lost


def _pre_roll(sound: Sound, facts: OggFacts, run: RunEnd | None) -> tuple[list[bytes], Samples]:
    """Return the packets to decode before this chunk, and how many samples to skip. After a hole in the run the decoder
    starts without any, since packets from before the hole don't match."""
    if run is not None and run.serial == facts.serial:
        hole = facts.first_page > run.next_page or (facts.agrees and facts.start_granule > run.end_granule)
        before = [] if hole else run.tail
        return before, Samples(sum(map(duration, before)))
    decoded = facts.packet_samples - facts.end_trim()
    return [], head_skip(begins=facts.begins_run, decoded=decoded, wanted=sound.samples, pre_skip=facts.pre_skip)


def _last(packets: list[bytes]) -> list[bytes]:
    """Return the packets that the next chunk needs."""
    return packets[-pre_roll([duration(packet) for packet in packets]) :]
