"""`status` and `list [n]`."""

from datetime import timedelta
from typing import Any

from bot.settings import FeedsSettings
from storage import calls
from storage.records import (
    BlobKey,
    CallEvent,
    CallEventKind,
    CallProtocol,
    ChunkFacts,
    ChunkState,
    Container,
    Credit,
    DurationMs,
    EndedBy,
    RecordingKind,
    RecordingState,
    Samples,
    Timing,
    to_samples,
)
from tests.commands.world import BASE, MEMBER, MOD, SPEAKER, World


async def status(world: World) -> list[str]:
    return (await world.say(MEMBER, "!aircheck status") or "").split("\n")


async def test_a_quiet_room_says_so(world: World) -> None:
    """`status` of a quiet room has four lines: recording, live, last episode, problems."""
    assert await status(world) == [
        (
            "Recording is on. I record voice broadcasts. "
            "The podcast is private: members get their address with `!aircheck feed`."
        ),
        "Nothing is live.",
        "There is no episode yet.",
        "I know of no problems.",
    ]
    await world.say(MOD, "!aircheck publish public")
    await world.say(MOD, "!aircheck record off")
    assert (await status(world))[0] == (
        "Recording is off: a moderator can say `!aircheck record on`. "
        f"The podcast is public: {BASE}/r/{(await world.room()).key}/feed.xml"
    )


async def test_what_is_live_is_told_with_who_since_when_and_how_long(world: World) -> None:
    """Each live broadcast has a line, which tells when it is paused."""
    first = await world.recording(state=RecordingState.LIVE, length_ms=None)
    world.clock.pass_by(600)
    second = await world.recording(state=RecordingState.LIVE, length_ms=None, paused=True, broadcaster_name=None)
    world.clock.pass_by(130)
    assert (await status(world))[1:3] == [
        f"Live: Mira, since 20 November 2026, 14:05 (UTC), for 12 min 10 s. Code: {first.code}",
        f"Live: @speaker:hs, since 20 November 2026, 14:15 (UTC), for 2 min 10 s, paused. Code: {second.code}",
    ]


async def test_the_last_episode_is_told_with_its_length(world: World) -> None:
    """`status` tells the newest ended episode with its length, and passes over empty and deleted ones."""
    await world.recording(length_ms=9_000)
    world.clock.pass_by(60)
    await world.recording(length_ms=61_000)
    world.clock.pass_by(60)
    await world.recording(state=RecordingState.EMPTY, length_ms=None)
    await world.recording(state=RecordingState.DELETED, length_ms=None)
    assert (await status(world))[2] == "Last episode: Mira, 20 November 2026, 14:06 · 1 min 1 s · complete"
    world.clock.pass_by(60)
    await world.recording(state=RecordingState.FINISHING, length_ms=None)
    assert (await status(world))[2] == "Last episode: Mira, 20 November 2026, 14:08 · being finished"


async def test_silence_that_stands_for_sound_is_told(world: World) -> None:
    """A damaged chunk in the middle is told as missing, with its announced length."""
    recording = await world.recording(state=RecordingState.INCOMPLETE, ended_by=EndedBy.STOPPED, announced_last=3)
    facts = ChunkFacts(Container.WAV, Timing.EXACT, to_samples(5000), 48_000, 1)
    for sequence in (1, 3):
        await world.chunk(recording, ChunkState.STORED, sequence=sequence, blob=BlobKey("ab"), bytes=9, facts=facts)
    await world.chunk(recording, ChunkState.DAMAGED, sequence=2, announced_ms=DurationMs(5600))
    told = await status(world)
    assert told[2].endswith("· 1 min 1 s · incomplete, 6 s missing at 0:05")
    assert told[3:] == [f"1 chunk of {recording.code} arrived damaged."]


async def test_what_is_missing_is_not_no_problem(world: World) -> None:
    """An incomplete last episode is never followed by the line that there are no problems."""
    await world.recording(state=RecordingState.INCOMPLETE, ended_by=EndedBy.ABANDONED)
    told = await status(world)
    assert told[-1].endswith("· incomplete, its end never came")


async def test_an_end_that_is_missing_is_told(world: World) -> None:
    """A missing end is told without an invented length, with the reason where it is known."""
    recording = await world.recording(state=RecordingState.INCOMPLETE, ended_by=EndedBy.STOPPED, announced_last=3)
    await world.chunk(recording, ChunkState.DAMAGED, sequence=1, announced_ms=DurationMs(5600))
    assert (await status(world))[2].endswith("· 1 min 1 s · incomplete, its end is missing")
    world.clock.pass_by(1)
    await world.recording(state=RecordingState.INCOMPLETE, ended_by=EndedBy.ABANDONED)
    assert (await status(world))[2].endswith("· incomplete, its end never came")


async def test_problems_are_plain_sentences(world: World) -> None:
    """Keys, media, damage and refusals of the newest recordings are problems; a first download is none."""
    recording = await world.recording(state=RecordingState.LIVE, length_ms=None)
    await world.chunk(recording, ChunkState.WAITING_FOR_MEDIA)
    assert (await status(world))[-1] == "I know of no problems."
    await world.chunk(recording, ChunkState.WAITING_FOR_MEDIA, reason="not_found")
    for _ in range(3):
        await world.chunk(recording, ChunkState.WAITING_FOR_KEY)
    await world.chunk(recording, ChunkState.DAMAGED, reason="hash_mismatch")
    await world.chunk(recording, ChunkState.REFUSED, reason="too_large")
    code = recording.code
    assert (await status(world))[3:] == [
        f"3 chunks of {code} can't be decrypted yet: the speaker's key has not arrived.",
        f"1 chunk of {code} can't be fetched from the homeserver yet (Aircheck keeps trying).",
        f"1 chunk of {code} arrived damaged.",
        f"1 chunk of {code} exceeded the limits on what is kept.",
    ]


async def test_a_chunk_with_less_sound_than_announced_is_a_problem(world: World) -> None:
    """A chunk with less sound than announced is a problem of a complete recording too."""
    recording = await world.recording()
    facts = ChunkFacts(Container.MP4_AAC, Timing.EXACT, to_samples(118_000), 48_000, 1)
    for sequence, announced in enumerate((118_000, 118_500, 120_000), start=1):
        await world.chunk(recording, ChunkState.STORED, facts=facts, announced_ms=announced, sequence=sequence)
    said = f"1 chunk of {recording.code} holds 2.0 s less sound than its event announced."
    assert (await status(world))[-1] == said


async def test_a_withheld_key_says_what_the_speaker_can_do(world: World) -> None:
    """Each code of a withheld key is told in plain words, unknown codes too."""
    recording = await world.recording(state=RecordingState.LIVE, length_ms=None)
    for code in ("m.unverified", "m.unverified", "m.blacklisted", "org.example.mood"):
        await world.chunk(recording, ChunkState.WAITING_FOR_KEY, reason=f"withheld:{code}")
    await world.chunk(recording, ChunkState.WAITING_FOR_KEY)
    said = (await status(world))[3:]
    assert [line.split(" of ")[0] for line in said] == ["2 chunks", "1 chunk", "1 chunk", "1 chunk"]
    for line, words in zip(said, ("verify this bot", "unblock it", "does not share", "has not arrived"), strict=True):
        assert words in line


async def test_voice_messages_that_may_be_lost_chunks_are_named_with_their_times(world: World) -> None:
    """Voice messages that may be lost chunks are told with at most five times, between the start and now."""
    world.feeds = FeedsSettings(timezone="Europe/Berlin")
    recording = await world.recording(state=RecordingState.LIVE, length_ms=None)
    begun = world.clock()
    world.clock.pass_by(3600)
    await world.chunk(recording, ChunkState.CANDIDATE)
    assert (await status(world))[-1] == "I know of no problems."
    await world.chunk(recording, ChunkState.CANDIDATE, reason="not_found")
    begins = f"{recording.code}: 1 voice message of its speaker may be a missing part of it"
    assert (await status(world))[-1] == f"{begins}; I can't be certain, so it is not in it."
    facts = ChunkFacts(Container.MP4_AAC, Timing.ESTIMATED, to_samples(5000), 48_000, 1)
    for minutes in (2, 4, -90, 900):
        sent = begun + timedelta(minutes=minutes)
        await world.chunk(recording, ChunkState.CANDIDATE, facts=facts, sent_at=sent)
    assert (await status(world))[-1] == (
        f"{recording.code}: 5 voice messages of its speaker may be missing parts of it "
        "(sent 15:07, 15:09, 15:05, 16:05 Europe/Berlin); I can't be certain, so they are not in it."
    )
    for _ in range(2):
        await world.chunk(recording, ChunkState.CANDIDATE, facts=facts, sent_at=begun)
    assert "16:05, 15:05, … Europe/Berlin);" in (await status(world))[-1]


async def test_problems_of_long_ago_are_not_told(world: World) -> None:
    """Problems of a recording are no longer told once five newer ones exist."""
    recording = await world.recording(state=RecordingState.INCOMPLETE)
    await world.chunk(recording, ChunkState.DAMAGED)
    for _ in range(4):
        world.clock.pass_by(60)
        await world.recording()
    assert (await status(world))[-1] == f"1 chunk of {recording.code} arrived damaged."
    world.clock.pass_by(60)
    await world.recording()
    assert (await status(world))[-1] == "I know of no problems."


async def test_list_shows_the_newest_first(world: World) -> None:
    """`list` shows five recordings, or as many as asked for, with code, title, length and completeness."""
    assert await world.say(MEMBER, "!aircheck list") == "There is no recording in this room yet."
    made = []
    for minute in range(7):
        made.append(await world.recording(length_ms=minute * 60_000, title=f"Talk {minute}"))
        world.clock.pass_by(60)
    await world.recording(state=RecordingState.DELETED)
    lines = (await world.say(MEMBER, "!aircheck list") or "").split("\n")
    assert lines.pop() == "`!aircheck list 5 2` shows what is older."
    assert lines == [f"{made[n].code} · Talk {n}, by Mira · {n} min · complete" for n in (6, 5, 4, 3, 2)]
    assert len((await world.say(MEMBER, "!aircheck list 50") or "").split("\n")) == 7
    assert len((await world.say(MEMBER, "!aircheck list 1") or "").split("\n")) == 2


async def test_a_long_list_is_read_in_pages(world: World) -> None:
    """A page has at most twenty lines, with the older ones on the next; the last one says nothing of more."""
    for _ in range(43):
        await world.recording(length_ms=None)
        world.clock.pass_by(60)
    pages = [(await world.say(MEMBER, f"!aircheck list {words}") or "").split("\n") for words in ("50", "20 2", "20 3")]
    assert [len(page) for page in pages] == [21, 21, 3]
    assert pages[0][-1] == "`!aircheck list 20 2` shows what is older."
    assert len({line[:6] for page in pages for line in page if not line.startswith("`")}) == 43
    assert await world.say(MEMBER, "!aircheck list 20 4") == "There is nothing older."


async def test_many_live_broadcasts_are_told_in_bounds(world: World) -> None:
    """At most ten live broadcasts have a line, and the others are counted."""
    for _ in range(12):
        await world.recording(state=RecordingState.LIVE, length_ms=None)
    told = await status(world)
    assert len([line for line in told if line.startswith("Live: ")]) == 10
    assert "… and 2 more are live." in told


async def test_list_marks_what_is_public_while_the_room_is(world: World) -> None:
    """`list` marks public recordings in a public room only."""
    live = await world.recording(state=RecordingState.LIVE, length_ms=None, title="Now")
    await world.say(MOD, "!aircheck publish public")
    await world.say(SPEAKER, "!aircheck publish last")
    assert await world.say(MEMBER, "!aircheck list") == f"{live.code} · Now, by Mira · live · public"
    await world.say(MOD, "!aircheck publish private")
    assert await world.say(MEMBER, "!aircheck list") == f"{live.code} · Now, by Mira · live"


async def test_a_session_is_told_with_all_who_speak(world: World) -> None:
    """`status` and `list` name the speakers of a session, and count its messages, not chunks."""
    heard = (Credit(SPEAKER, "Mira"), Credit(MEMBER, "Jonas"))
    about: dict[str, Any] = {"kind": RecordingKind.VOICE_MESSAGES, "speakers": heard}
    session = await world.recording(state=RecordingState.INCOMPLETE, ended_by=EndedBy.SWITCHED_OFF, **about)
    await world.chunk(session, ChunkState.DAMAGED)
    world.clock.pass_by(60)
    live = await world.recording(state=RecordingState.LIVE, length_ms=None, **about)
    told = await status(world)
    assert told[1] == (f"Live: Mira and Jonas, since 20 November 2026, 14:06 (UTC), for 0 s. Code: {live.code}")
    assert told[2].startswith("Last episode: Mira, 20 November 2026, 14:05, with Jonas · 1 min 1 s · incomplete")
    assert told[3] == f"1 message of {session.code} arrived damaged."
    listed = (await world.say(MEMBER, "!aircheck list") or "").split("\n")
    assert listed[-1].startswith(f"{session.code} · Mira, 20 November 2026, 14:05, with Jonas · ")


async def test_status_tells_of_members_of_a_call_who_were_not_heard(world: World) -> None:
    """A call whose media server refused the bot, or whose key did not come, is a problem with its code."""
    call = await world.recording(kind=RecordingKind.CALL, protocol=CallProtocol.MATRIXRTC)
    async with world.store.write() as db:
        await calls.note(db, call.id, [CallEvent(Samples(0), MEMBER, CallEventKind.UNREADABLE)])
    reason = "Some sound of 1 member is silence: it was not encrypted, or the key did not come."
    assert (await status(world))[-1].endswith(f"{call.code}: {reason}")
