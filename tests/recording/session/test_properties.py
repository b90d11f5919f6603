"""Any order, any duplicates, any loss: the same session, or a listed gap."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from bot.recording.kinds import KINDS
from bot.recording.ledger import fingerprint
from bot.recording.model import ChunkStored, Finish, RecordingEvent, Redacted
from bot.recording.session.layout import MAX_SILENCE, PAUSE, lay_out
from bot.recording.speakers import credited
from storage.records import Chunk, ChunkId, ChunkState, DurationMs, EventId, RecordingKind, RecordingState, UserId
from tests.recording.session.world import ANN, BEN, Session, said
from tests.recording.world import NOON, SECOND, absent, blob, mp4, seconds, stored

CARL = UserId("@carl:hs")


@dataclass(frozen=True)
class Message:
    name: str
    who: UserId
    length_s: int
    media: str  # two may send the same
    redacted: bool

    @property
    def position(self) -> int:
        return int(self.name[1:])

    def events(self) -> list[RecordingEvent]:
        """In the one order that cause and effect allow."""
        sent = said(self.who, NOON + seconds(self.position), self.length_s * 1000)
        media = ChunkStored(ChunkId(self.name), blob(self.media), 1000, mp4(self.length_s))
        return [sent, media, *([Redacted(EventId(self.name), self.who)] if self.redacted else [])]


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    return [
        Message(
            f"${number}",
            draw(st.sampled_from([ANN, BEN, CARL])),
            draw(st.integers(1, 9)),
            draw(st.sampled_from(["same", f"${number}"])),
            draw(st.booleans()) and draw(st.booleans()),
        )
        for number in range(1, draw(st.integers(1, 7)) + 1)
    ]


def play(messages: Sequence[Message], draw: st.DataObject | None = None) -> Session:
    """Tell all events in some order, each once or more, an effect never before its cause, and let the gap pass."""
    session = Session(bare=True)
    session.tell(messages[0].events()[0], messages[0].name, 1)  # it begins with it
    queues = [[(message, event) for event in message.events()] for message in messages]
    while queues:
        queue = draw.draw(st.sampled_from(queues)) if draw else queues[0]
        message, event = queue.pop(0)
        for _ in range(draw.draw(st.integers(1, 2)) if draw else 1):
            session.tell(event, message.name, message.position)
        queues = [queue for queue in queues if queue]
    assert session.recording == credited(session.recording, session.chunks, session.ledger)
    session.wait(700)
    session.wait(700)
    return session


@given(messages=conversations(), data=st.data())
def test_any_order_and_any_duplicates_give_the_same_session(messages: list[Message], data: st.DataObject) -> None:
    """However the events come, all of the sound is there once, in the order of the timeline, a second apart."""
    messages = [replace(messages[0], who=ANN), *messages[1:]]
    session, once = play(messages, data), play(messages)
    heard = [message for message in messages if not message.redacted]
    assert session.state is (RecordingState.COMPLETE if heard else RecordingState.EMPTY)
    assert session.recording == once.recording
    assert (session.chunks, session.ledger) == (once.chunks, once.ledger)
    assert [entry.chunk_id for entry in session.ledger.entries if entry.sounds] == [one.name for one in heard]
    length = sum(message.length_s for message in heard) * SECOND + max(0, len(heard) - 1) * PAUSE
    assert (session.ledger.samples, session.ledger.gaps) == (length, ())


@given(messages=conversations(), data=st.data())
def test_any_loss_is_a_listed_gap_and_heals(messages: list[Message], data: st.DataObject) -> None:
    """A message whose media are away is a gap of its length in the middle, and nothing at the end; its return gives
    the same session as if it had never been away."""
    messages = [replace(message, redacted=False) for message in [replace(messages[0], who=ANN), *messages[1:]]]
    lost = data.draw(st.sets(st.sampled_from(messages), min_size=1))
    session = Session(bare=True)
    for message in messages:
        for event in message.events()[: 1 if message in lost else 2]:
            session.tell(event, message.name, message.position)
    for _ in range(3):
        session.wait(700)
    if len(lost) < len(messages):
        assert session.state is RecordingState.INCOMPLETE
        last = max(index for index, message in enumerate(messages) if message not in lost)
        gone = [message.length_s * SECOND for message in messages[:last] if message in lost]
        assert sum(gap.samples for gap in session.ledger.gaps) == sum(gone)
    session.now += timedelta(days=1)
    for message in lost:
        session.tell(message.events()[1], message.name, message.position)
    once = play(messages)
    assert session.state is RecordingState.COMPLETE
    assert fingerprint(session.ledger) == fingerprint(once.ledger)
    assert (session.chunks, session.ledger) == (once.chunks, once.ledger)
    assert Finish() in session.effects


WITHOUT_SOUND = [
    state
    for state in ChunkState
    if state not in (ChunkState.MISSING, ChunkState.DUPLICATE, ChunkState.STORED, ChunkState.CANDIDATE)
]


@st.composite
def archives(draw: st.DrawFn) -> list[Chunk]:
    """Chunks as nobody sent them: any lengths, any states."""
    chunks: list[Chunk] = []
    for index in range(draw(st.integers(0, 8))):
        if draw(st.booleans()):
            chunks.append(stored(f"${index}", None, mp4(draw(st.floats(0, 4000))), position=index))
        else:
            announced = draw(st.none() | st.integers(1, 86_400_000).map(DurationMs))
            lost = absent(f"${index}", None, draw(st.sampled_from(WITHOUT_SOUND)), position=index)
            chunks.append(replace(lost, announced_ms=announced, reason=draw(st.none() | st.just("not_wanted"))))
        chunks[-1] = replace(chunks[-1], sender=draw(st.sampled_from([ANN, BEN])))
    return chunks


@given(chunks=archives(), data=st.data())
def test_a_ledger_holds_whatever_comes(chunks: list[Chunk], data: st.DataObject) -> None:
    """The ledger lists each message once, without a hole or an overlap, bounded, and the same in any order; chapters
    begin where a sound does."""
    session = Session().recording
    ledger = lay_out(session, chunks)
    assert sorted(entry.chunk_id or "" for entry in ledger.entries) == sorted(chunk.id for chunk in chunks)
    end = 0
    for entry in ledger.entries:
        assert entry.position == end + entry.pause
        end = entry.position + entry.samples
    assert end == ledger.samples
    silent = sum(entry.samples for entry in ledger.entries if entry.silence)
    assert sum(gap.samples for gap in ledger.gaps) == silent <= MAX_SILENCE
    sounds = [entry for entry in ledger.entries if entry.sounds]
    assert not sounds or ledger.samples == sounds[-1].position + sounds[-1].samples
    assert not (ledger.complete and (ledger.gaps or not ledger.sounds))
    marks = KINDS[RecordingKind.VOICE_MESSAGES].chapters(session, chunks, ledger, None, lambda _: "x")
    assert len(marks) in (0, *range(2, len(sounds) + 1))
    shuffled = lay_out(session, data.draw(st.permutations(chunks)))
    assert (shuffled, fingerprint(shuffled)) == (ledger, fingerprint(ledger))


def test_a_session_without_sound_was_begun_by_its_first_sender() -> None:
    """Whichever messages were removed first, whoever sent the first one began it, without a name."""
    first, second = (Message(name, who, 1, name, redacted=True).events() for name, who in (("$1", ANN), ("$2", BEN)))
    session = Session(bare=True)
    for name, position, events in (("$1", 1, first), ("$2", 2, second)):
        for event in events:
            session.tell(event, name, position)
    session.wait(700)
    assert (session.recording.broadcaster, session.recording.broadcaster_name) == (ANN, None)
