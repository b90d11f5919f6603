"""Any order, any duplicates, any loss: the same archive, or a listed gap."""

from dataclasses import dataclass, replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from bot.recording.broadcast.layout import MAX_SILENCE, lay_out
from bot.recording.broadcast.places import MAX_ABSENT, MAX_JUMP
from bot.recording.ledger import Ledger, fingerprint
from bot.recording.model import BroadcastChanged, Change, ChunkSealed, ChunkSent, ChunkStored, Finish, RecordingEvent
from storage.records import (
    BlobKey,
    Chunk,
    ChunkFacts,
    ChunkId,
    ChunkState,
    EndedBy,
    Hole,
    MediaSource,
    MxcUri,
    OggFacts,
    RecordingState,
    Samples,
    SessionId,
)
from tests.recording.world import (
    ALICE,
    DEVICE,
    NOON,
    PAGE,
    PRE_SKIP,
    START,
    World,
    absent,
    mp4,
    ogg,
    recording,
    slices,
    stored,
    with_pages,
)


@dataclass(frozen=True)
class Upload:
    """A chunk of a broadcast: its place in the timeline, and its media."""

    name: str
    position: int
    number: int
    facts: ChunkFacts
    sealed: bool

    def events(self) -> list[RecordingEvent]:
        """In the one order that cause and effect allow."""
        key = [ChunkSealed(START, ALICE, SessionId("s"), NOON)] if self.sealed else []
        source = MediaSource(MxcUri("mxc://hs/x"))
        sent = ChunkSent(START, ALICE, self.number, source, None, None, NOON)
        return [*key, sent, ChunkStored(ChunkId(self.name), BlobKey(self.name), 1000, self.facts)]


@dataclass(frozen=True)
class Broadcast:
    uploads: tuple[Upload, ...]
    samples: int  # of all its sound
    stopped: int | None  # the announced number

    @property
    def stop(self) -> BroadcastChanged:
        return BroadcastChanged(START, ALICE, Change.STOPPED, self.stopped, DEVICE, NOON)


@st.composite
def broadcasts(draw: st.DrawFn) -> Broadcast:
    """Draw runs of Element Web's, of which each may have two neighbours numbered the wrong way round."""
    runs = draw(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=3))
    uploads: list[Upload] = []
    for serial, lengths in enumerate(runs):
        facts = slices(lengths, serial=serial)
        swapped = draw(st.integers(0, len(facts)))
        if 0 < swapped < len(facts):
            facts[swapped - 1], facts[swapped] = facts[swapped], facts[swapped - 1]
        for each in facts:
            number = len(uploads) + 1
            uploads.append(Upload(f"${number}", 10 + number, number, each, draw(st.booleans())))
    samples = sum(sum(lengths) * PAGE - PRE_SKIP for lengths in runs)
    return Broadcast(tuple(uploads), samples, draw(st.none() | st.integers(1, len(uploads))))


def play(broadcast: Broadcast, draw: st.DataObject) -> World:
    """All events in some order, each once or more, an effect never before its cause."""
    world = World()
    stop = ("$stop", 99, broadcast.stop)
    queues = [[(upload.name, upload.position, event) for event in upload.events()] for upload in broadcast.uploads]
    queues.append([stop])
    while queues:
        queue = draw.draw(st.sampled_from(queues))
        name, position, event = queue[0]
        for _ in range(draw.draw(st.integers(1, 2))):
            world.tell(event, name, position)
        queue.pop(0)
        queues = [queue for queue in queues if queue]
    world.wait(60)
    return world


@given(broadcast=broadcasts(), data=st.data())
def test_any_order_and_any_duplicates_give_the_same_recording(broadcast: Broadcast, data: st.DataObject) -> None:
    """However the events come, and however often, all of the sound is in the audio, once and in its order."""
    world = play(broadcast, data)
    once = World()
    for upload in broadcast.uploads:
        for event in upload.events():
            once.tell(event, upload.name, upload.position)
    once.tell(broadcast.stop, "$stop", 99)
    once.wait(60)
    assert world.recording.state is RecordingState.COMPLETE
    assert (world.recording, world.chunks, world.ledger) == (once.recording, once.chunks, once.ledger)
    assert (world.ledger.samples, world.ledger.gaps) == (broadcast.samples, ())


@given(broadcast=broadcasts(), data=st.data())
def test_any_loss_is_a_listed_gap(broadcast: Broadcast, data: st.DataObject) -> None:
    """Whatever is lost, it is not complete unless the pages prove it; what is lost before the end is in the ledger,
    and its return heals the recording."""
    lost = data.draw(st.sets(st.sampled_from(broadcast.uploads), min_size=1))
    world = World()
    for upload in broadcast.uploads:
        if upload not in lost:
            for event in upload.events():
                world.tell(event, upload.name, upload.position)
    world.tell(broadcast.stop, "$stop", 99)
    world.wait(60)
    if world.recording.state is RecordingState.COMPLETE:
        assert world.ledger.proved or all(upload.number > (broadcast.stopped or 0) for upload in lost)
    elif any(upload not in lost for upload in broadcast.uploads):
        assert world.recording.state is RecordingState.INCOMPLETE
    world.now += timedelta(days=1)
    for upload in lost:
        for event in upload.events():
            world.tell(event, upload.name, upload.position)
    assert world.recording.state is RecordingState.COMPLETE
    assert (world.ledger.samples, world.ledger.gaps) == (broadcast.samples, ())
    assert Finish() in world.effects or len(lost) == 0


@given(broadcast=broadcasts(), data=st.data())
def test_a_gap_inside_a_run_has_its_true_length(broadcast: Broadcast, data: st.DataObject) -> None:
    """A loss between two chunks of a run moves nothing that comes after it."""
    whole = [stored(upload.name, upload.number, upload.facts) for upload in broadcast.uploads]
    over = recording(state=RecordingState.FINISHING, ended_by=EndedBy.STOPPED)
    places = {entry.chunk_id: entry.position for entry in lay_out(over, whole).entries}
    inner = [chunk for chunk in whole if _pages(chunk).first_page > 2 and not _pages(chunk).eos]
    if not inner:
        return
    lost = data.draw(st.sampled_from(inner))
    left = lay_out(over, [chunk for chunk in whole if chunk is not lost])
    assert [gap.samples for gap in left.gaps] == [_pages(lost).packet_samples]
    assert all(entry.position == places[entry.chunk_id] for entry in left.entries if entry.chunk_id)


def _pages(chunk: Chunk) -> OggFacts:
    assert chunk.facts is not None
    assert chunk.facts.ogg is not None
    return chunk.facts.ogg


HUGE = st.integers(-1, 1 << 62)
ANY_PAGES = st.builds(
    OggFacts,
    serial=st.integers(0, 2),
    first_page=st.integers(0, 12),
    last_page=st.integers(0, 20),
    start_granule=st.integers(-1, 40).map(lambda pages: max(-1, pages * PAGE)) | HUGE,
    end_granule=st.integers(-1, 40).map(lambda pages: max(-1, pages * PAGE)) | HUGE,
    eos=st.booleans(),
    pre_skip=st.integers(0, 65_535).map(Samples),
    packet_samples=st.integers(0, 20 * PAGE).map(Samples),
    contiguous=st.booleans(),
    head_sha256=st.sampled_from(["one", "two"]),
    agrees=st.booleans(),
    begins=st.none() | st.booleans(),
    last_samples=st.none() | st.integers(0, 2 * PAGE).map(Samples),
)
ANY_HOLES = st.lists(st.integers(1, PAGE), max_size=3).map(
    lambda lengths: tuple(Hole(Samples(2 * PAGE * n), Samples(length)) for n, length in enumerate(lengths))
)
ANY_FACTS = st.builds(
    lambda facts, holes: replace(facts, holes=holes),
    st.one_of(ANY_PAGES.map(with_pages), st.floats(0, 300).map(mp4), st.just(ogg(2, 5, 0, eos=True))),
    ANY_HOLES,
)
NUMBERS = st.none() | st.integers(1, 6) | st.sampled_from([MAX_JUMP, 99_999, 100_000])
WITHOUT_SOUND = [
    state
    for state in ChunkState
    if state not in (ChunkState.MISSING, ChunkState.DUPLICATE, ChunkState.STORED, ChunkState.CANDIDATE)
]


@st.composite
def archives(draw: st.DrawFn) -> list[Chunk]:
    """Chunks as nobody sent them: any numbers, pages, states."""
    chunks: list[Chunk] = []
    for index in range(draw(st.integers(0, 7))):
        name, number = f"${index}", draw(NUMBERS)
        if draw(st.booleans()):
            media = draw(st.sampled_from(["a", "b", name]))
            chunks.append(stored(name, number, draw(ANY_FACTS), position=index, media=media))
        else:
            announced = draw(st.none() | st.integers(1, 86_400_000))
            state = draw(st.sampled_from(WITHOUT_SOUND))
            known = None if state is ChunkState.WAITING_FOR_KEY else number
            chunks.append(absent(name, known, state, position=index, announced_ms=announced))
    return chunks


@given(chunks=archives(), last=st.none() | st.integers(1, 100_000), data=st.data())
def test_a_ledger_holds_whatever_comes(chunks: list[Chunk], last: int | None, data: st.DataObject) -> None:
    """The ledger lists each chunk once, without a hole or an overlap, bounded, and the same in any order."""
    over = recording(state=RecordingState.FINISHING, ended_by=EndedBy.STOPPED, announced_last=last)
    ledger = lay_out(over, chunks)
    listed = [entry.chunk_id for entry in ledger.entries if entry.chunk_id]
    assert sorted(listed) == sorted(chunk.id for chunk in chunks)
    assert _runs_on(ledger)
    assert sum(entry.samples for entry in ledger.entries if entry.silence) <= MAX_SILENCE
    silent = sum(entry.samples for entry in ledger.entries if entry.silence)
    holes = sum(hole.samples for entry in ledger.entries for hole in entry.holes)
    assert sum(gap.samples for gap in ledger.gaps) == silent + holes
    assert all(hole.at + hole.samples <= entry.samples for entry in ledger.entries for hole in entry.holes)
    assert len(ledger.entries) <= 2 * len(chunks) + MAX_ABSENT
    assert not (ledger.certain and not ledger.complete)
    assert not (ledger.complete and (ledger.gaps or not ledger.sounds))
    shuffled = lay_out(over, data.draw(st.permutations(chunks)))
    assert (shuffled, fingerprint(shuffled)) == (ledger, fingerprint(ledger))


def _runs_on(ledger: Ledger) -> bool:
    """Each entry begins where the one before it ends; spares stand beside the one that is heard."""
    position = 0
    for entry in ledger.entries:
        spare = entry.samples == 0 and entry.silence and entry.position <= position
        if entry.position != position and not spare:
            return False
        position = max(position, entry.position + entry.samples)
    return position == ledger.samples
