"""Bad input through the whole line: it is reported once, in plain words, and disturbs no other broadcast."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from storage.records import SAMPLE_RATE, ChunkState, EndedBy, EventId, HeardEvent, RecordingState
from tests.audio.hostile.ogg import LONG, opus
from tests.line.good_capture import all_is_logged, assert_good, good, lines_about, no_mistakes_of_ours, replay
from tests.line.replay import INFO, Capture, Replay, address_of, encoded

__all__ = ["all_is_logged", "good", "replay"]  # fixtures

QUIET_S = 60
CHUNK = "io.element.voice_broadcast_chunk"
CAROL = "@carol:lab.local"
DAY_S = 24 * 3600
WAV = ("-f", "wav", "-c:a", "pcm_s16le")

_numbers = itertools.count(1)


class Speaker:
    """A member who broadcasts beside the capture, with every field of the events to choose."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self.began = self.info("started", device_id="CAROLSPHONE", chunk_length=5)
        self.broadcast = self.began.event_id

    def says(self, kind: Any, content: Any, **fields: Any) -> HeardEvent:
        event_id = EventId(f"$by-carol-{next(_numbers):04}")
        at = self.capture.broadcast[0].event["origin_server_ts"]
        event = {"type": kind, "sender": CAROL, "content": content, "origin_server_ts": at, "event_id": event_id}
        return HeardEvent(self.capture.room, event_id, {**event, **fields})

    def info(self, state: Any, *, related: bool = False, **content: Any) -> HeardEvent:
        relation = {"m.relates_to": self.relation} if related else {}
        return self.says(INFO, {"state": state, **relation, **content}, state_key=CAROL)

    def chunk(self, sequence: Any, mxc: Any, **content: Any) -> HeardEvent:
        told = {"msgtype": "m.audio", "body": "Voice message", CHUNK: {"sequence": sequence}, "url": mxc}
        return self.says("m.room.message", {**told, "m.relates_to": self.relation, **content})

    def stop(self, last: Any) -> HeardEvent:
        return self.info("stopped", related=True, last_chunk_sequence=last)

    @property
    def relation(self) -> Mapping[str, Any]:
        return {"rel_type": "m.reference", "event_id": self.broadcast}


def media(name: str) -> str:
    return f"mxc://lab.local/{name}"


async def with_the_good_one(replay: Replay, good: Capture, bad: list[HeardEvent]) -> None:
    """Bring the bad events among those of the good broadcast."""
    await replay.tell(good.room, [*good.broadcast[:2], *bad[:1]])
    await replay.tell(good.room, [*bad[1:], *good.broadcast[2:]])


# ---- events


NESTED: dict[str, Any] = {"a": [{"b": [[{"c": [None, True, -1, {}]}]]}]}
HUGE = 10**300
JUNK: tuple[Any, ...] = (
    None,
    True,
    7,
    -1,
    HUGE,
    float("nan"),
    float("inf"),
    "",
    "x" * 10_000,
    "\0\ud800",
    [],
    [[]],
    NESTED,
)


def senseless(carol: Speaker) -> Iterator[tuple[str, HeardEvent]]:
    """Make events that can't be part of a broadcast, each with the rule that it breaks."""
    for junk in JUNK:
        if not isinstance(junk, dict):
            yield "content", carol.says(INFO, junk, state_key=CAROL)
        if junk is not None:
            yield "state", carol.info(junk)
        if isinstance(junk, str):
            yield "state_key", carol.says(INFO, {"state": "started"}, state_key=junk)
        yield "relation", carol.info("stopped", **{"m.relates_to": junk})
        yield "relation", carol.chunk(1, media("x"), **{"m.relates_to": junk})
        yield "relation", carol.chunk(1, media("x"), **{"m.relates_to": {**carol.relation, "event_id": junk}})
        yield "msgtype", carol.chunk(1, media("x"), msgtype=junk)
        yield "url", carol.chunk(1, junk)
        if junk is not None and not isinstance(junk, dict):
            yield "marker", carol.chunk(1, media("x"), **{CHUNK: junk})
        if junk is not None:
            yield "file", carol.chunk(1, media("x"), file=junk)
        for key in ("v", "key", "iv", "hashes", "url"):
            yield "file", carol.chunk(1, None, file={**encrypted_file(), key: junk})


def encrypted_file() -> dict[str, Any]:
    content: dict[str, Any] = Capture("encrypted").broadcast[1].event["content"]
    return dict(content["file"])


async def test_events_of_wrong_types_count_for_nothing(
    replay: Replay, good: Capture, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Each malformed event is logged once with rule, room and event, and disturbs no broadcast."""
    carol = Speaker(good)
    bad = list(senseless(carol))
    await replay.move_in(good)
    await with_the_good_one(replay, good, [carol.began, *(event for _, event in bad)])
    await replay.tell(good.room, [carol.chunk(1, next(iter(good.uploads))), carol.stop(1)])
    for rule, event in bad:
        (said,) = lines_about(caplog, f"event={event.event_id}") or ["nothing"]
        assert f"rule={rule} room={good.room}" in said, event.event
    assert no_mistakes_of_ours(caplog)
    assert len(await replay.chunks(carol.broadcast)) == 1
    await assert_good(replay, good, tmp_path)


async def test_hints_that_make_no_sense_are_none(
    replay: Replay, good: Capture, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """With nonsense for numbers, sizes, lengths and times the Ogg pages alone decide, after the quiet period."""
    junk = itertools.cycle([True, HUGE, -1, "3", 1.5, [1], {"sequence": 1}, float("nan"), 0])
    spoiled = []
    for one in good.broadcast:
        content = dict(one.event["content"])
        if CHUNK in content:
            content[CHUNK] = {"sequence": next(junk)}
            content["info"] = next(junk)
            content["org.matrix.msc1767.audio"] = {"duration": next(junk)}
        elif content["state"] == "started":
            content |= {"chunk_length": next(junk), "device_id": next(junk)}
        else:
            content["last_chunk_sequence"] = next(junk)
        spoiled.append(replace(one, event={**one.event, "content": content, "origin_server_ts": next(junk)}))
    await replay.move_in(good)
    await replay.tell(good.room, spoiled)
    await replay.pass_by(QUIET_S)
    assert {chunk.sequence for chunk in (await replay.chunks(good.started)).values()} == {None}
    await assert_good(replay, good, tmp_path)
    assert no_mistakes_of_ours(caplog)


async def test_an_event_that_cannot_be_written_down_keeps_no_other_waiting(
    replay: Replay, good: Capture, tmp_path: Path
) -> None:
    """An event that can't be stored is left out or stored in part; events beside it are stored."""
    carol = Speaker(good)
    bad = [
        *(carol.chunk(1, media("x"), junk=nested(depth)) for depth in range(900, 990, 10)),
        carol.says(["m.room.name"], {}, state_key=""),
        carol.says("m.room.name", {}, state_key="\ud800"),
        carol.says("m.room.name", {"name": "\ud800"}, state_key=""),
    ]
    await replay.move_in(good)
    await with_the_good_one(replay, good, [carol.began, *bad])
    await assert_good(replay, good, tmp_path)


def nested(depth: int) -> Any:
    """Make JSON of so many levels, which Python's parser accepts."""
    found: Any = 1
    for _ in range(depth):
        found = {"a": found}
    return found


# ---- media


HTML = b"<!DOCTYPE html><html><body>Sign in to see this file</body></html>"
PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
CONCAT = b"ffconcat version 1.0\nfile /etc/passwd\n"


async def test_media_that_are_no_sound_are_damaged(
    replay: Replay, good: Capture, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Media without sound is downloaded twice, then given up; the room reads how many chunks arrived damaged."""
    carol = Speaker(good)
    data: dict[str, bytes] = {
        media("html"): HTML,
        media("m3u8"): PLAYLIST,
        media("concat"): CONCAT,
        media("zeros"): bytes(5000),
    }
    replay.serves({**data, media("empty"): b""})
    bad = [carol.chunk(number, mxc) for number, mxc in enumerate([*data, media("empty")], start=1)]
    await replay.move_in(good)
    await with_the_good_one(replay, good, [carol.began, *bad, carol.stop(5)])
    await replay.pass_by(QUIET_S)
    recording = await replay.recording(carol.broadcast)
    assert (recording.state, await replay.episode(carol.broadcast)) == (RecordingState.EMPTY, None)
    chunks = await replay.chunks(carol.broadcast)
    assert [chunk.state for chunk in chunks.values()] == [ChunkState.DAMAGED] * 5
    assert [chunk.reason for chunk in chunks.values()] == ["not_audio"] * 4 + ["empty"]
    for one in bad:
        (said,) = lines_about(caplog, f"event={one.event_id}")
        assert f"reason={chunks[one.event_id].reason} recording={recording.code}" in said
    assert f"5 chunks of {recording.code} arrived damaged." in await replay.ask(good.room, "!aircheck status")
    assert len(await replay.audio_left()) == len(good.files) + 1 + len(data)
    assert no_mistakes_of_ours(caplog)
    await assert_good(replay, good, tmp_path)


async def test_an_answer_of_a_proxy_is_no_damage(replay: Replay, good: Capture, tmp_path: Path) -> None:
    """A proxy's page with status 200 in place of a chunk delays it by ten seconds, and loses no sound."""
    mxc, upload = list(good.uploads.items())[1]
    await replay.move_in(good)
    replay.serves({mxc: HTML})
    await replay.tell(good.room, good.broadcast)
    replay.serves({mxc: upload})
    await replay.pass_by(10)
    await assert_good(replay, good, tmp_path)
    assert len(await replay.audio_left()) == len(good.files) + 1


async def test_what_was_damaged_heals_the_episode(replay: Replay, good: Capture, tmp_path: Path) -> None:
    """Right bytes after three days heal the episode under its GUID."""
    mxc, upload = list(good.uploads.items())[1]
    await replay.move_in(good)
    replay.serves({mxc: HTML})
    await replay.tell(good.room, good.broadcast)
    await replay.pass_by(QUIET_S)
    first = await replay.episode(good.started)
    assert first is not None
    assert (await replay.recording(good.started)).state is RecordingState.INCOMPLETE
    for _ in range(3):
        await replay.pass_by(DAY_S)
    replay.serves({mxc: upload})
    await replay.pass_by(DAY_S)
    healed = await replay.episode(good.started)
    assert healed is not None
    assert healed.guid == first.guid
    await assert_good(replay, good, tmp_path)


async def test_a_damaged_chunk_in_the_middle_is_silence_of_its_length(
    replay: Replay, good: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    """Chunks after a damaged one keep their place; the room reads in one sentence what is wrong."""
    mxc = list(good.uploads)[1]
    await replay.move_in(good)
    replay.serves({mxc: HTML})
    await replay.tell(good.room, good.broadcast)
    await replay.pass_by(QUIET_S)
    recording = await replay.recording(good.started)
    assert recording.state is RecordingState.INCOMPLETE
    ledger = await replay.ledger(good.started)
    assert [(gap.samples, gap.reason) for gap in ledger.gaps] == [(268_800, ChunkState.DAMAGED)]  # 5.6 s
    assert f"1 chunk of {recording.code} arrived damaged." in await replay.ask(good.room, "!aircheck status")
    assert "6 s missing" in next(said for said in replay.said if "is ready" in said)
    assert len(lines_about(caplog, "reason=not_audio")) == 1


async def test_announced_sizes_are_hints(replay: Replay, good: Capture, tmp_path: Path) -> None:
    """Chunks ten times as large and as long as announced are recorded as they are."""
    told = []
    for one in good.broadcast:
        content = dict(one.event["content"])
        if CHUNK in content:
            info = content["info"]
            content["info"] = {**info, "size": info["size"] // 10, "duration": info["duration"] // 10}
            content["org.matrix.msc1767.audio"] = {"duration": info["duration"] // 10}
        told.append(replace(one, event={**one.event, "content": content}))
    await replay.move_in(good)
    await replay.tell(good.room, told)
    await assert_good(replay, good, tmp_path)


@pytest.mark.parametrize("told", [5, 1, 80_000_000])
async def test_announced_lengths_in_another_unit(replay: Replay, good: Capture, told: int) -> None:
    """Announced lengths in seconds or nonsense change nothing, and a lost chunk is as long as the others."""
    sound = await encoded(good.files[0], *WAV)
    carol = Speaker(good)
    chunks = [carol.chunk(number, media(str(number)), info={"duration": told}) for number in (1, 2, 3)]
    replay.serves({media("1"): sound, media("2"): HTML, media("3"): sound})
    await replay.move_in(good)
    await replay.tell(good.room, [carol.began, *chunks, carol.stop(3)])
    await replay.pass_by(QUIET_S)
    ledger = await replay.ledger(carol.broadcast)
    lengths = [entry.samples for entry in ledger.entries]
    assert lengths[0] > 5 * SAMPLE_RATE
    assert lengths == [lengths[0]] * 3
    assert "sound than their events announced" in await replay.ask(good.room, "!aircheck status")


async def test_a_chunk_that_is_refused_ends_no_broadcast(
    replay: Replay, good: Capture, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Chunks with too many bytes or too much sound are refused, later ones recorded; the room reads why."""
    sound = await encoded(good.files[0], *WAV)
    carol = Speaker(good)
    large, long, fine = (
        carol.chunk(1, media("large"), info={"duration": 5600}),
        carol.chunk(2, media("long"), info={"duration": 5600}),
        carol.chunk(3, media("fine"), info={"duration": 5600}),
    )
    replay.serves({media("large"): bytes(1_000_001), media("long"): opus([LONG] * 8000), media("fine"): sound})
    await replay.move_in(good)
    await replay.tell(good.room, [carol.began, large])
    await replay.tell(good.room, [long])
    await replay.tell(good.room, [fine])
    recording = await replay.recording(carol.broadcast)
    assert (recording.state, recording.ended_by) == (RecordingState.LIVE, None)
    await with_the_good_one(replay, good, [carol.stop(3)])
    await replay.pass_by(QUIET_S)
    chunks = await replay.chunks(carol.broadcast)
    assert [(chunk.state, chunk.reason) for chunk in chunks.values()] == [
        (ChunkState.REFUSED, "too_large"),
        (ChunkState.REFUSED, "too_long"),
        (ChunkState.STORED, None),
    ]
    assert (await replay.recording(carol.broadcast)).ended_by is EndedBy.STOPPED
    assert f"2 chunks of {recording.code} exceeded the limits on what is kept." in await replay.ask(
        good.room, "!aircheck status"
    )
    for one in (large, long):
        assert len(lines_about(caplog, f"event={one.event_id}")) == 1
    await assert_good(replay, good, tmp_path)


async def test_a_hash_that_does_not_match_is_damage(replay: Replay, caplog: pytest.LogCaptureFixture) -> None:
    """A chunk of which one bit was changed is refused; the others keep their places."""
    good = Capture("encrypted")
    mxc, upload = list(good.uploads.items())[1]
    await replay.move_in(good)
    replay.serves({mxc: bytes([upload[0] ^ 1]) + upload[1:]})
    await replay.tell(good.room, good.broadcast)
    await replay.pass_by(QUIET_S)
    states = [(chunk.state, chunk.reason) for chunk in (await replay.chunks(good.started)).values()]
    assert states == [
        (ChunkState.STORED, None),
        (ChunkState.DAMAGED, "hash_mismatch"),
        *[(ChunkState.STORED, None)] * 3,
    ]
    assert [gap.samples for gap in (await replay.ledger(good.started)).gaps] == [268_800]
    assert len(await replay.audio_left()) == 5 + 1
    assert len(lines_about(caplog, "reason=hash_mismatch")) == 1


async def test_media_that_come_late_heal_the_episode(replay: Replay, good: Capture, tmp_path: Path) -> None:
    """Media that is not found at first is requested again, and heals the episode under its GUID."""
    mxc, upload = list(good.uploads.items())[1]
    await replay.move_in(good)
    replay.homeserver.says(address_of(mxc), 404, "M_NOT_FOUND")
    await replay.tell(good.room, good.broadcast)
    await replay.pass_by(QUIET_S)
    first = await replay.episode(good.started)
    recording = await replay.recording(good.started)
    assert first is not None
    assert (recording.state, first.published_at) == (RecordingState.INCOMPLETE, None)
    problem = f"1 chunk of {recording.code} can't be fetched from the homeserver yet (Aircheck keeps trying)."
    assert problem in await replay.ask(good.room, "!aircheck status")
    replay.serves({mxc: upload})
    await replay.pass_by(600)
    healed = await replay.episode(good.started)
    assert healed is not None
    assert (healed.guid, healed.published_at) == (first.guid, replay.clock())
    assert "no problems" in await replay.ask(good.room, "!aircheck status")
    await assert_good(replay, good, tmp_path)


async def test_media_that_are_gone_are_asked_for_once_a_day(replay: Replay, good: Capture, tmp_path: Path) -> None:
    """Missing media leaves an incomplete episode, listed after an hour; it heals when the media appears."""
    mxc, upload = list(good.uploads.items())[1]
    await replay.move_in(good)
    replay.homeserver.says(address_of(mxc), 404, "M_NOT_FOUND")
    await replay.tell(good.room, good.broadcast)
    await replay.pass_by(QUIET_S)
    await replay.pass_by(3600)
    episode = await replay.episode(good.started)
    assert episode is not None
    assert episode.published_at is not None
    for _ in range(30 * 4):
        await replay.pass_by(DAY_S / 4)
    assert 30 <= [path for path, _ in replay.homeserver.asked].count(address_of(mxc)) <= 50
    replay.serves({mxc: upload})
    await replay.pass_by(DAY_S)
    healed = await replay.episode(good.started)
    assert healed is not None
    assert (healed.guid, healed.published_at) == (episode.guid, episode.published_at)
    await assert_good(replay, good, tmp_path)
