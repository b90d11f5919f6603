"""Chunks that come back as plain voice messages: put in where their sound proves them, never guessed."""

from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.recording.broadcast import machine
from bot.recording.broadcast.orphans import MAX_CANDIDATES
from bot.recording.ledger import fingerprint
from bot.recording.model import (
    Change,
    ChunkFailed,
    ChunkStored,
    FetchChunk,
    Finish,
    Joined,
    LookAgain,
    Redacted,
    Tick,
    VoiceMessage,
)
from storage.records import (
    Chunk,
    ChunkFacts,
    ChunkId,
    ChunkState,
    EndedBy,
    EventId,
    MediaSource,
    MxcUri,
    RecordingId,
    RecordingState,
    Samples,
    UserId,
)
from tests.factories import a_chunk
from tests.recording.world import ALICE, LIMITS, NOON, PAGE, PRE_SKIP, World, blob, mp4, ogg, recording, shape, slices

BOB = UserId("@bob:hs")
VOICE = "$voice"


def voice(name: str = VOICE, sender: UserId = ALICE) -> VoiceMessage:
    return VoiceMessage(sender, MediaSource(MxcUri(f"mxc://hs/{name[1:]}")), None, 1000, NOON)


def say_voice(world: World, facts: ChunkFacts, name: str = VOICE) -> None:
    """Send a voice message that is looked into at once."""
    world.tell(voice(name), name)
    assert world.effects == [FetchChunk(ChunkId(name))]
    world.store(name, facts)


def state_of(world: World, name: str = VOICE) -> ChunkState | None:
    return next((chunk.state for chunk in world.chunks if chunk.event_id == name), None)


def candidate_of_another(world: World, facts: ChunkFacts) -> Chunk:
    """Return the speaker's voice message as a candidate row of another recording."""
    return a_chunk(
        event_id=EventId(VOICE),
        recording_id=RecordingId(2),
        position=world.chunks[0].position,
        sequence=None,
        state=ChunkState.CANDIDATE,
        facts=facts,
    )


def spoken(numbers: dict[int, int], pieces: list[ChunkFacts], **changes: object) -> World:
    """Return a broadcast of which some chunks came, `{index: number}`."""
    world = World(recording(**changes))
    for index, number in numbers.items():
        world.say(f"${index + 1}", number, pieces[index])
    return world


# ---- what is certain


@pytest.mark.parametrize("lost", range(4))
@pytest.mark.parametrize("first", [True, False])
def test_any_chunk_of_a_run_is_put_back(lost: int, first: bool) -> None:
    """At its head, in it, at its end; whether it comes before its neighbours or after them."""
    pieces = slices([7, 7, 7, 3])
    world = World()
    if first:
        say_voice(world, pieces[lost])
        assert state_of(world) is ChunkState.CANDIDATE
    fetched = []
    for index in (index for index in range(4) if index != lost):
        world.say(f"${index + 1}", index + 1, pieces[index])
        fetched += world.effects
    if not first:
        say_voice(world, pieces[lost])
        fetched += world.effects
    assert state_of(world) is ChunkState.WAITING_FOR_MEDIA
    assert fetched == [FetchChunk(ChunkId(VOICE))]
    world.store(VOICE, pieces[lost])
    world.stop(4)
    names = [VOICE if index == lost else f"${index + 1}" for index in range(4)]
    assert shape(world.ledger) == [(name, number, "stored") for number, name in enumerate(names, start=1)]
    assert world.recording.state is RecordingState.COMPLETE
    whole = World()
    whole.speak(pieces)
    assert world.ledger.samples == whole.ledger.samples


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_neighbours_that_were_lost_prove_one_another(order: tuple[int, ...]) -> None:
    """Three in a row came back: each is certain once the one beside it is, in whatever order they come."""
    pieces = slices([7, 7, 7, 7, 3])
    world = spoken({0: 1, 4: 5}, pieces)
    for index in order:
        say_voice(world, pieces[index + 1], f"$v{index}")
    for index in range(3):
        assert state_of(world, f"$v{index}") is ChunkState.WAITING_FOR_MEDIA
        world.store(f"$v{index}", pieces[index + 1])
    world.stop(5)
    assert shape(world.ledger) == [
        ("$1", 1, "stored"),
        ("$v0", 2, "stored"),
        ("$v1", 3, "stored"),
        ("$v2", 4, "stored"),
        ("$5", 5, "stored"),
    ]
    assert world.recording.state is RecordingState.COMPLETE


def test_the_last_of_two_that_were_lost_takes_the_last_number() -> None:
    """An orphan that touches only the chunk after it gets the number before that chunk."""
    pieces = slices([7, 7, 7, 3])
    world = spoken({0: 1, 3: 4}, pieces)
    say_voice(world, pieces[2])
    assert [(sequence, state) for _, sequence, state in shape(world.ledger)] == [
        (1, "stored"),
        (2, "missing"),
        (3, "waiting_for_media"),
        (4, "stored"),
    ]


def test_where_every_number_is_there_it_shares_its_neighbours() -> None:
    """The client never counted the lost one: its pages say where it stands, and nothing is listed as missing."""
    pieces = slices([7, 7, 7, 3])
    world = spoken({0: 1, 2: 2, 3: 3}, pieces)
    assert world.ledger.gaps[0].samples == 7 * PAGE
    say_voice(world, pieces[1])
    world.store(VOICE, pieces[1])
    world.stop(3)
    assert [name for name, _, _ in shape(world.ledger)] == ["$1", VOICE, "$3", "$4"]
    assert (world.recording.state, world.ledger.gaps) == (RecordingState.COMPLETE, ())


def test_a_swap_of_numbers_by_a_slow_upload_leaves_it_the_one_that_is_absent() -> None:
    """The lost one was sent in second place and counted as third: the third number is not missing."""
    pieces = slices([7, 7, 7, 3])
    world = spoken({0: 1, 2: 2, 3: 4}, pieces)
    say_voice(world, pieces[1])
    world.store(VOICE, pieces[1])
    assert shape(world.ledger) == [
        ("$1", 1, "stored"),
        (VOICE, 3, "stored"),
        ("$3", 2, "stored"),
        ("$4", 4, "stored"),
    ]


def test_a_chunk_that_really_has_the_number_is_heard_beside_it() -> None:
    """The number of what was put back was made out: when its owner comes, of another run, both are heard."""
    first, second = slices([7, 7, 3], serial=1), slices([4], serial=2)
    world = spoken({0: 1, 1: 2}, first)
    say_voice(world, first[2])
    world.store(VOICE, first[2])
    assert shape(world.ledger)[-1] == (VOICE, 3, "stored")
    world.say("$late", 3, second[0])
    assert {name: state for name, _, state in shape(world.ledger)} == dict.fromkeys(
        ("$1", "$2", VOICE, "$late"), "stored"
    )
    assert [name for name, _, _ in shape(world.ledger)] == ["$1", "$2", VOICE, "$late"]


def test_the_chunk_itself_comes_too() -> None:
    """A chunk that was attached and is then sent once more with its number is heard once."""
    pieces = slices([7, 7, 3])
    world = spoken({0: 1, 2: 3}, pieces)
    say_voice(world, pieces[1])
    world.say("$2", 2, pieces[1], media="same")
    waiting = [entry for entry in world.ledger.entries if entry.sounds]
    assert [entry.chunk_id for entry in waiting] == ["$1", "$2", "$3"]
    world.store(VOICE, pieces[1], media="same")
    assert sorted(state for _, _, state in shape(world.ledger)) == ["duplicate", "stored", "stored", "stored"]
    assert sum(entry.samples for entry in world.ledger.entries) == world.ledger.samples
    assert world.ledger.gaps == ()


def test_what_is_proved_late_re_opens_a_decided_recording() -> None:
    """An orphan that is proved late heals the recording, at once if nothing else is missing."""
    pieces = slices([7, 7, 3])
    world = spoken({0: 1, 2: 3}, pieces)
    world.stop(3)
    world.tell(voice(), VOICE)
    world.wait(60)
    before, decided = fingerprint(world.ledger), world.recording
    world.store(VOICE, pieces[1])
    assert [each.state for each in (decided, world.recording)] == [RecordingState.INCOMPLETE, RecordingState.FINISHING]
    assert FetchChunk(ChunkId(VOICE)) in world.effects
    world.store(VOICE, pieces[1])
    assert (world.recording.state, world.effects) == (RecordingState.COMPLETE, [Finish()])
    assert fingerprint(world.ledger) != before


def test_an_empty_tail_ends_its_run() -> None:
    """A page without packets that only says that the stream ends has no granule; its page number is enough."""
    pieces = slices([7, 7], eos=False)
    world = spoken({0: 1, 1: 2}, pieces)
    tail = ogg(16, 1, -1, eos=True)
    assert tail.ogg is not None
    empty = replace(tail.ogg, packet_samples=Samples(0), start_granule=-1, end_granule=-1)
    say_voice(world, replace(tail, samples=Samples(0), ogg=empty))
    world.store(VOICE, replace(tail, samples=Samples(0), ogg=empty))
    world.stop(3)
    assert (world.ledger.proved, world.recording.state) == (True, RecordingState.COMPLETE)


def test_a_candidate_of_another_broadcast_is_taken_by_the_one_that_proves_it() -> None:
    """Two devices of one speaker: the row that lies with one recording becomes a chunk of the other."""
    pieces = slices([7, 7, 3])
    world = spoken({0: 1}, pieces)
    elsewhere = candidate_of_another(world, pieces[1])
    world.chunks = (*world.chunks, elsewhere)
    world.wait(1)
    assert (state_of(world), world.chunk(VOICE).recording_id) == (ChunkState.WAITING_FOR_MEDIA, 1)
    assert FetchChunk(ChunkId(VOICE)) in world.effects


@given(data=st.data())
def test_whatever_comes_back_as_voice_messages_the_recording_is_the_same(data: st.DataObject) -> None:
    """Any chunks of a run but one, in any order, beside voice messages that are none: the same sound, complete."""
    pieces = slices(data.draw(st.lists(st.integers(1, 7), min_size=2, max_size=8)))
    numbered = data.draw(st.integers(0, len(pieces) - 1))
    lost = data.draw(st.sets(st.integers(0, len(pieces) - 1))) - {numbered}
    world = World()
    for index in data.draw(st.permutations(range(len(pieces)))):
        if data.draw(st.booleans()):
            say_voice(world, data.draw(st.sampled_from([mp4(), slices([2, 2], serial=9)[1]])), f"$none{index}")
        if index in lost:
            say_voice(world, pieces[index], f"$v{index}")
        else:
            world.say(f"${index}", index + 1, pieces[index])
    for index in lost:
        assert state_of(world, f"$v{index}") is ChunkState.WAITING_FOR_MEDIA
        world.store(f"$v{index}", pieces[index])
    world.stop(len(pieces))
    assert [str(entry.chunk_id) for entry in world.ledger.entries] == [
        f"$v{index}" if index in lost else f"${index}" for index in range(len(pieces))
    ]
    assert world.ledger.samples == sum(piece.ogg.packet_samples for piece in pieces if piece.ogg) - PRE_SKIP
    assert world.recording.state is RecordingState.COMPLETE


# ---- what is not


MIDDLE = slices([7, 7, 3])[1]


def pages(**changes: object) -> ChunkFacts:
    assert MIDDLE.ogg is not None
    return replace(MIDDLE, ogg=replace(MIDDLE.ogg, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "facts",
    [
        mp4(),
        slices([7, 3])[0],
        slices([4], serial=8)[0],
        pages(serial=8),
        pages(head_sha256="another"),
        pages(start_granule=7 * PAGE + 1),
        pages(end_granule=14 * PAGE - 1),
        pages(eos=True),
        pages(contiguous=False),
        pages(first_page=8),
        pages(last_page=16),
        pages(first_page=10, last_page=14),
        pages(first_page=20, last_page=26),
    ],
)
def test_what_does_not_fit_is_not_put_in(facts: ChunkFacts) -> None:
    """Another container, stream, head, granule; pages over others, with a hole, or that end the stream."""
    pieces = slices([7, 7, 3])
    world = spoken({0: 1, 2: 3}, pieces)
    ledger, before = world.ledger, world.recording
    say_voice(world, facts)
    assert state_of(world) is not ChunkState.WAITING_FOR_MEDIA
    assert (world.effects, world.recording, world.ledger) == ([], before, ledger)


def test_nothing_follows_the_end_of_a_stream() -> None:
    """Pages that go on after the one that ends the stream are not of it."""
    world = spoken({0: 1}, [ogg(2, 7, 0, eos=True)])
    say_voice(world, MIDDLE)
    assert state_of(world) is ChunkState.CANDIDATE


@pytest.mark.parametrize("redacted", [True, False])
def test_what_is_there_already_is_no_candidate(redacted: bool) -> None:
    """Sent once more, it is nothing that is missing; and what was redacted does not come back by another way."""
    pieces = slices([7, 7, 3])
    world = spoken({0: 1, 1: 2, 2: 3}, pieces)
    if redacted:
        world.redact("$2")
    ledger = world.ledger
    say_voice(world, pieces[1])
    assert (state_of(world), world.effects, world.ledger) == (None, [], ledger)


def test_a_candidate_changes_nothing() -> None:
    """No sign of life, no part of the ledger, of its verdict or of the audio; a repetition is nothing new."""
    world = spoken({0: 1}, slices([7, 7], eos=False))
    before, ledger = world.recording, world.ledger
    world.now += timedelta(minutes=10)
    for _ in range(2):
        world.tell(voice(), VOICE)
    assert (world.recording, world.ledger) == (before, ledger)
    world.wait(1800 - 600)
    assert world.recording.ended_by is EndedBy.ABANDONED


@pytest.mark.parametrize("state", [ChunkState.WAITING_FOR_MEDIA, ChunkState.DAMAGED, ChunkState.REFUSED])
def test_a_candidate_that_can_not_be_had_stays_one(state: ChunkState) -> None:
    """Nobody knows what it was; only what may still come keeps its address."""
    world = spoken({0: 1}, slices([7, 3]))
    world.tell(voice(), VOICE)
    outcome = world.tell(ChunkFailed(ChunkId(VOICE), state, "not_found"))
    assert (state_of(world), world.chunk(VOICE).reason, outcome.ignored) == (ChunkState.CANDIDATE, "not_found", None)
    assert (world.chunk(VOICE).source is not None) == (state is ChunkState.WAITING_FOR_MEDIA)


@pytest.mark.parametrize(("facts", "kept"), [(mp4(), False), (MIDDLE, True)])
def test_the_key_of_what_can_never_be_proved_is_not_kept(facts: ChunkFacts, kept: bool) -> None:
    """Its source goes as soon as its container is known; the row says nothing but that there was one."""
    world = World()
    say_voice(world, facts)
    candidate = world.chunk(VOICE)
    assert (candidate.blob, candidate.bytes, candidate.source is not None) == (None, None, kept)


def test_what_is_told_twice_of_it_changes_nothing() -> None:
    """A fetch that is killed after its outcome was written is done again: as candidate and as chunk."""
    pieces = slices([7, 7, 3])
    world = World()
    say_voice(world, pieces[1])
    world.store(VOICE, pieces[1])
    assert (state_of(world), world.effects) == (ChunkState.CANDIDATE, [])
    world.say("$1", 1, pieces[0])
    for _ in range(2):
        world.store(VOICE, pieces[1])
        assert (state_of(world), world.effects) == (ChunkState.STORED, [])


def test_a_candidate_keeps_no_episode_waiting() -> None:
    """A recording that is complete without a candidate is decided at once, while the candidate is looked into."""
    pieces = slices([7, 3])
    world = spoken({0: 1}, pieces)
    world.tell(voice(), VOICE)
    world.say("$2", 2, pieces[1])
    world.stop(2)
    assert (world.recording.state, world.effects) == (RecordingState.COMPLETE, [Finish()])
    world.tell(Joined(fingerprint(world.ledger)))
    before = world.recording
    world.store(VOICE, mp4())
    assert (world.recording, world.effects) == (before, [])


def test_a_redacted_candidate_is_gone() -> None:
    """Nothing of it stays, and what is being fetched of it is forgotten."""
    world = World()
    world.tell(voice(), VOICE)
    world.tell(Redacted(EventId(VOICE), ALICE))
    assert (state_of(world), world.effects) == (None, [])
    assert world.tell(ChunkStored(ChunkId(VOICE), blob("v"), 9, MIDDLE)).ignored == "unknown_chunk"


def test_what_was_put_back_is_redacted_as_a_chunk() -> None:
    """Its sound goes, its length stays."""
    pieces = slices([7, 7, 3])
    world = spoken({0: 1, 2: 3}, pieces)
    say_voice(world, pieces[1])
    world.store(VOICE, pieces[1])
    length = world.ledger.samples
    world.redact(VOICE)
    assert (state_of(world), world.ledger.samples) == (ChunkState.REDACTED, length)


# ---- who and when


def test_only_the_speaker_and_only_while_it_is_open() -> None:
    """Another member's voice message, or one after the end, is nobody's business."""
    world = spoken({0: 1, 1: 2}, slices([7, 3]))
    assert world.tell(voice(sender=BOB), VOICE).ignored == "foreign_sender"
    world.stop(2)
    assert world.recording.state is RecordingState.COMPLETE
    assert world.tell(voice(), VOICE).ignored == "over"
    assert state_of(world) is None


@pytest.mark.parametrize("by", [EndedBy.SWITCHED_OFF, EndedBy.LIMIT])
def test_nothing_is_looked_for_where_nothing_more_is_taken(by: EndedBy) -> None:
    """After recording was switched off or the limit was reached, voice messages are ignored."""
    world = World(recording(state=RecordingState.FINISHING, ended_by=by, ended_at=NOON, quiet_until=NOON))
    assert world.tell(voice(), VOICE).ignored == str(by)
    assert world.chunks == ()


def test_so_many_candidates_and_no_more() -> None:
    """A speaker who sends voice messages all day fills no table."""
    world = World()
    for index in range(MAX_CANDIDATES):
        world.tell(voice(f"$v{index}"), f"$v{index}")
    assert world.tell(voice(), VOICE).ignored == "too_many_candidates"
    assert len(world.chunks) == MAX_CANDIDATES


def test_a_tick_is_done_though_a_candidate_changes_with_it() -> None:
    """A tick has its effects although a candidate turns out to be known at the same time."""
    pieces = slices([7, 3])
    world = spoken({0: 1}, pieces)
    stranger = candidate_of_another(world, pieces[0])
    outcome = machine.step(
        world.recording,
        (*world.chunks, stranger),
        Tick(),
        now=NOON + timedelta(seconds=1),
        limits=LIMITS,
    )
    assert [chunk.event_id for chunk in outcome.chunks] == ["$1"]
    assert [type(effect) for effect in outcome.effects] == [LookAgain]


def test_a_pause_is_no_gap_for_it() -> None:
    """The end of one run and the head of the next are not each other's neighbours."""
    first, second = slices([7, 3], serial=1), slices([7, 3], serial=2)
    world = spoken({0: 1}, first)
    world.change(Change.PAUSED)
    world.change(Change.RESUMED)
    world.say("$4", 4, second[1])
    say_voice(world, first[1], "$a")
    say_voice(world, second[0], "$b")
    for name, facts in (("$a", first[1]), ("$b", second[0])):
        world.store(name, facts)
    world.stop(4)
    assert shape(world.ledger) == [
        ("$1", 1, "stored"),
        ("$a", 2, "stored"),
        ("$b", 3, "stored"),
        ("$4", 4, "stored"),
    ]
    assert world.recording.state is RecordingState.COMPLETE
