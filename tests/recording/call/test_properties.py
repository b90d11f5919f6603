"""Any order of events, each once or more: a recording of a call keeps its promises."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bot.recording.call.layout import WINDOW
from bot.recording.chunks import is_removed
from bot.recording.model import (
    CameBack,
    Deleted,
    Ended,
    Forget,
    Forgotten,
    Heard,
    NotHeard,
    NoticeSent,
    RecordingEvent,
    Silenced,
    SlicesKept,
    Spoken,
    StemClosed,
    StemOpened,
    Tick,
    WentAway,
)
from storage.records import (
    UNHEARD,
    CallEventKind,
    Credit,
    EndedBy,
    EventId,
    LeftBy,
    Position,
    RecordingState,
    Samples,
    Turn,
    UserId,
)
from tests.recording.call.world import ANN, BEN, Call, closed, slice_of, stem
from tests.recording.world import SECOND, limits

USERS = (ANN, BEN)
users = st.sampled_from(USERS)
numbers = st.integers(1, 4)
seconds = st.integers(0, 80)
positions = st.integers(1, 9).map(Position)


@st.composite
def slices(draw: st.DrawFn) -> SlicesKept:
    """Draw slices, most of which belong to the stem of Ann or Ben that has their number."""
    made = []
    for _ in range(draw(st.integers(1, 3))):
        number, n = draw(numbers), draw(st.integers(0, 7))
        who = draw(users) if draw(st.booleans()) else USERS[number % 2]
        made.append(slice_of(number, n, who, position=draw(positions)))
    return SlicesKept(tuple(made))


@st.composite
def ends(draw: st.DrawFn) -> StemClosed:
    by = draw(st.sampled_from(LeftBy))
    return replace(closed(draw(numbers), draw(seconds), by), slices=draw(st.integers(0, 2)))


def opened(number: int, joined_s: int) -> StemOpened:
    who = USERS[number % 2]
    return StemOpened(replace(stem(number, who, "DEV"), joined=Samples(joined_s * SECOND)))


def spoken(who: UserId, at: int) -> Spoken:
    return Spoken((Credit(who, "Name", WINDOW),), (Turn(who, "Name", Samples(at * SECOND), WINDOW),))


def not_heard(who: UserId, why: CallEventKind, at: int) -> NotHeard:
    return NotHeard(who, "DEV", why, Samples(at * SECOND))


def heard(who: UserId, at: int) -> Heard:
    return Heard(who, "DEV", Samples(at * SECOND))


events: st.SearchStrategy[RecordingEvent] = st.one_of(
    st.builds(opened, numbers, st.integers(0, 3)),
    ends(),
    slices(),
    slices(),
    st.builds(WentAway, seconds.map(lambda at: Samples(at * SECOND))),
    st.builds(CameBack, seconds.map(lambda at: Samples(at * SECOND))),
    st.builds(not_heard, users, st.sampled_from(sorted(UNHEARD)), seconds),
    st.builds(heard, users, seconds),
    st.builds(Silenced, positions, st.sampled_from([*USERS, None])),
    st.builds(Ended, st.sampled_from([EndedBy.STOPPED, EndedBy.SWITCHED_OFF, EndedBy.LIMIT]), positions | st.none()),
    st.builds(Forgotten, users),
    st.builds(spoken, users, seconds),
    st.just(NoticeSent(EventId("$notice"))),
    st.just(Tick()),
)


def brought(event: RecordingEvent) -> set[str]:
    if isinstance(event, SlicesKept):
        return {chunk.blob for chunk in event.slices if chunk.blob}
    return {event.blob} if isinstance(event, StemClosed) and event.blob else set()


def needed(call: Call) -> set[str]:
    """Return the blobs that the rows of a recording name."""
    stems = {stem.blob for stem in call.recording.stems if stem.blob}
    return stems | {chunk.blob for chunk in call.chunks if chunk.blob}


def check(call: Call) -> None:
    """Assert what holds for a recording of a call at any time."""
    recording = call.recording
    stems = {each.number: each for each in recording.stems}
    assert list(stems) == list(range(1, len(recording.stems) + 1))
    open_ones = [(each.user_id, each.device_id) for each in recording.stems if each.left is None]
    assert len(open_ones) == len(set(open_ones))
    assert all(each.left is None or each.left >= each.joined for each in recording.stems)
    assert all((each.left is None) == (each.left_by is None) for each in recording.stems)
    ids = [chunk.id for chunk in call.chunks]
    assert len(ids) == len(set(ids))
    for chunk in call.chunks:
        assert chunk.stem is not None
        of_stem = stems[chunk.stem]
        assert (chunk.sender, is_removed(chunk) and chunk.blob is not None) == (of_stem.user_id, False)
        if chunk.blob is not None:
            assert not of_stem.removed
            assert of_stem.cut_at is None or chunk.position <= of_stem.cut_at
            assert (chunk.at or 0) < call.limits.max_samples
    torn = {chunk.stem for chunk in call.chunks if is_removed(chunk)}
    assert not [each for each in recording.stems if each.blob and (each.removed or each.number in torn)]
    aways = recording.aways
    assert all(away.ends is None or away.begins < away.ends for away in aways)
    assert all(first.ends is not None and first.ends < second.begins for first, second in pairwise(aways))
    assert recording.state is RecordingState.LIVE or all(away.ends is not None for away in aways)
    for who in USERS:
        times = [each for each in recording.unheard if each.user_id == who]
        assert all(first.ends is not None and first.ends <= second.begins for first, second in pairwise(times))
        assert all(each.ends is None or each.begins < each.ends for each in times)
    is_out = bool(aways) and aways[-1].ends is None
    lasting = [each for each in recording.unheard if each.ends is None]
    assert not lasting or (recording.state is RecordingState.LIVE and not is_out)
    assert not (recording.unheard and recording.state is RecordingState.COMPLETE)
    removed = {each.user_id for each in recording.stems if each.removed}
    present = {each.user_id for each in recording.stems if not each.removed}
    named = {credit.user_id for credit in recording.speakers} | {turn.user_id for turn in recording.turns}
    assert named <= present
    assert all(each.name is None for each in recording.stems if each.removed)
    assert removed <= set(USERS)


@given(told=st.lists(events, max_size=25), repeated=st.data())
def test_any_order_keeps_the_promises(told: list[RecordingEvent], repeated: st.DataObject) -> None:
    """Stems and slices are unique, nothing is kept that somebody objected to, and no blob is lost or left over."""
    call = Call(limits=limits(max_broadcast_s=60))
    alive: set[str] = set()
    for event in told:
        for _ in range(repeated.draw(st.integers(1, 2))):
            alive |= brought(event)
            call.tell(event)
            check(call)
            forgotten = {effect.blob for effect in call.effects if isinstance(effect, Forget)}
            assert needed(call) <= alive
            alive -= forgotten - needed(call)  # what something else refers to stays
            assert alive == needed(call)
    call.tell(Deleted())
    assert call.state is RecordingState.DELETED


@given(told=st.lists(events, max_size=25))
def test_everything_has_an_end(told: list[RecordingEvent]) -> None:
    """Whatever came before, a recording that has ended is decided at the latest after the quiet period."""
    call = Call(limits=limits(max_broadcast_s=60))
    for event in told:
        call.tell(event)
    call.tell(Ended(EndedBy.STOPPED))
    call.wait(call.limits.quiet_period_s)
    assert call.state.is_decided
    sounds = call.ledger.sounds
    assert (call.state is RecordingState.EMPTY) is not sounds
    known = Counter(chunk.stem for chunk in call.chunks)
    is_all_here = all(each.left is not None and known[each.number] >= each.slices for each in call.recording.stems)
    assert (call.state is RecordingState.COMPLETE) is (sounds and is_all_here and not call.ledger.gaps)
