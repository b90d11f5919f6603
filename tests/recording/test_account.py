"""Missing sound in words, and the chapters that mark it."""

from dataclasses import replace

import pytest

from bot.recording import account
from bot.recording.broadcast.words import WORDS as BROADCAST
from bot.recording.call.layout import WINDOW
from bot.recording.chapters import marks
from bot.recording.chunks import OUT_OF_TURN
from bot.recording.kinds import lay_out
from bot.recording.ledger import fingerprint
from bot.recording.lengths import player_clock, spoken_gap
from bot.recording.model import CameBack, Ended, Heard, NotHeard, WentAway
from storage.records import (
    CallEventKind,
    Chunk,
    ChunkState,
    DurationMs,
    EndedBy,
    Hole,
    Recording,
    RecordingKind,
    RecordingState,
    Samples,
    UserId,
    to_ms,
    to_samples,
)
from tests.recording.call.world import ANN, BEN, Call, closed, slice_of
from tests.recording.session.samples import a_session
from tests.recording.world import absent, mp4, recording, stored

HERE, DAMAGED, WAITING = ChunkState.STORED, ChunkState.DAMAGED, ChunkState.WAITING_FOR_KEY


def over(state: RecordingState = RecordingState.INCOMPLETE, by: EndedBy = EndedBy.STOPPED) -> Recording:
    return replace(recording(), state=state, ended_by=by)


def said(*states: ChunkState, length_s: int = 60) -> tuple[Chunk, ...]:
    """Chunk after chunk, each a minute long."""
    return tuple(
        stored(f"${number}", number, mp4(length_s))
        if state is HERE
        else absent(f"${number}", number, state, announced_ms=length_s * 1000)
        for number, state in enumerate(states, start=1)
    )


@pytest.mark.parametrize(
    ("milliseconds", "gap", "clock"),
    [(1, "1 s", "0:00"), (59_400, "59 s", "0:59"), (120_000, "2 min", "2:00"), (845_900, "14 min 6 s", "14:05"),
     (3_723_000, "1 h 2 min", "1:02:03")],
)  # fmt: skip
def test_lengths_and_places(milliseconds: int, gap: str, clock: str) -> None:
    """A gap is never nothing, and a place is what a player shows: it has begun, so it isn't rounded up."""
    assert (spoken_gap(milliseconds), player_clock(milliseconds)) == (gap, clock)


@pytest.mark.parametrize(
    ("states", "told"),
    [
        ([HERE, HERE, DAMAGED, DAMAGED, HERE], "2 min missing at 2:00"),
        ([DAMAGED, HERE], "1 min missing at 0:00"),
        ([HERE, DAMAGED, WAITING, HERE], "2 min missing at 1:00"),
        ([HERE, DAMAGED] * 3 + [HERE], "1 min missing at 1:00, 1 min at 3:00 and 1 min at 5:00"),
        ([HERE, DAMAGED] * 4 + [HERE], "4 min missing in 4 places, the first at 1:00"),
        ([HERE, DAMAGED], "its end is missing"),
        ([HERE, DAMAGED, HERE, WAITING], "1 min missing at 1:00, its end is missing"),
    ],
)
def test_what_is_missing_is_one_line(states: list[ChunkState], told: str) -> None:
    """Few gaps are told singly, many together; one that has two reasons is one. How much of an end is missing nobody
    can know."""
    recorded = over()
    loss = account.loss_of(lay_out(recorded, said(*states)))
    assert account.missing(recorded, loss) == told
    assert account.whole(recorded, loss) == f"incomplete, {told}"
    assert account.first_line(recorded, loss) == told[0].upper() + told[1:]


@pytest.mark.parametrize("by", list(BROADCAST.no_end))
def test_an_end_that_was_not_seen_is_told_with_its_reason(by: EndedBy) -> None:
    """Ended by anything but `stopped`, and nothing missing in between."""
    recorded = over(by=by)
    loss = account.loss_of(lay_out(recorded, said(HERE)))
    assert account.missing(recorded, loss) == BROADCAST.no_end[by]
    gapped = account.loss_of(lay_out(recorded, said(HERE, DAMAGED, HERE)))
    assert account.missing(recorded, gapped) == f"1 min missing at 1:00, {BROADCAST.no_end[by]}"


def test_every_end_has_its_words() -> None:
    """No way to end is left out, but the one that a client announces, and the end of a session that lacks nothing."""
    assert set(BROADCAST.no_end) == set(EndedBy) - {EndedBy.STOPPED, EndedBy.GAP}


def test_a_session_lacks_no_end() -> None:
    """A session may end by anything: its messages are whole, so only what is missing of them is told."""
    session, messages = a_session("ann 60", "ben 60", "ann 60")
    gone = replace(messages[1], state=DAMAGED, blob=None, facts=None, announced_ms=DurationMs(60_000))
    chunks = [messages[0], gone, messages[2]]
    for by in (EndedBy.GAP, EndedBy.SWITCHED_OFF, EndedBy.REMOVED):
        ended = replace(session, state=RecordingState.INCOMPLETE, ended_by=by)
        assert account.missing(ended, account.loss_of(lay_out(ended, chunks))) == "1 min missing at 1:01"


def test_what_was_said_without_the_floor() -> None:
    """A transmission without the floor says so, and is neither trouble nor a missing end."""
    session, messages = a_session("ann 60", "ben 60", kind=RecordingKind.WALKIE_TALKIE)
    refused = replace(messages[1], state=ChunkState.REFUSED, reason=OUT_OF_TURN, blob=None, facts=None)
    ledger = lay_out(session, [messages[0], refused])
    assert account.why(ledger.entries[1]) == "said without the floor"
    assert (account.troubles(ledger), account.loss_of(ledger).end) == ((), False)


def test_every_loss_has_its_words() -> None:
    """Each state that a chunk can have outside of the audio is explained."""
    heard = {HERE, ChunkState.DUPLICATE}
    assert set(account.WHY) >= {entry.state for entry in lay_out(over(), said(*account.WHY)).entries} - heard
    assert not heard & set(account.WHY)


def test_nothing_is_missing_of_what_is_whole() -> None:
    """A complete recording has no first line, no chapters and no troubles."""
    recorded = over(RecordingState.COMPLETE)
    ledger = lay_out(recorded, said(HERE, HERE))
    loss = account.loss_of(ledger)
    assert account.first_line(recorded, loss) is None
    assert account.whole(recorded, loss) == "complete"
    assert (account.silences(loss), marks(ledger), account.troubles(ledger), list(account.gaps(ledger))) == (
        None, (), (), [],
    )  # fmt: skip


def test_what_runs_is_told_as_it_is() -> None:
    """While it is live or being finished nobody speaks of an end."""
    for state, told in ((RecordingState.LIVE, "live"), (RecordingState.FINISHING, "being finished")):
        recorded = replace(over(), state=state)
        loss = account.loss_of(lay_out(recorded, said(HERE, DAMAGED)))
        assert account.whole(recorded, loss) == told
        assert account.first_line(recorded, loss) is None


def withheld(number: int, code: str | None) -> Chunk:
    chunk = absent(f"${number}", None, WAITING, position=10 + number)
    return replace(chunk, reason=f"withheld:{code}") if code else chunk


def test_each_chunk_says_why() -> None:
    """A gap gives every reason that its chunks have, once; the speaker reads what to do about a key."""
    chunks = [*said(HERE), withheld(2, "m.unverified"), withheld(3, "m.unverified"), withheld(4, None),
              withheld(5, "org.example.mood"), stored("$6", 6, mp4(60))]  # fmt: skip
    ledger = lay_out(over(), chunks)
    (gap,) = account.gaps(ledger)
    assert (gap.position, gap.length) == (60_000, 240_000)
    unverified, waits, other = gap.why.split("; ")
    assert "can verify this bot" in unverified
    assert waits == account.WHY[WAITING]
    assert other == f"can't be decrypted: {account.NO_KEY_AT_ALL}"
    assert account.troubles(ledger) == ((unverified, 2), (waits, 1), (other, 1))


def test_what_is_fetched_for_the_first_time_is_no_trouble() -> None:
    """A chunk becomes trouble only after a fetch of it failed."""
    fetched = absent("$2", 2, ChunkState.WAITING_FOR_MEDIA)
    for chunk, troubles in ((fetched, 0), (replace(fetched, reason="not_found"), 1)):
        ledger = lay_out(over(), [*said(HERE), chunk])
        assert len(account.troubles(ledger)) == troubles
        assert (account.why(ledger.entries[1]) == account.ON_ITS_WAY) is not bool(troubles)


def test_a_chunk_that_is_damaged_in_part_is_told() -> None:
    """Its gap has a reason, its row a note, and `status` says how much of it can't be heard."""
    facts = replace(mp4(60), holes=(Hole(to_samples(DurationMs(2000)), to_samples(DurationMs(500))),))
    ledger = lay_out(over(), [stored("$1", 1, mp4(60)), stored("$2", 2, facts)])
    assert account.troubles(ledger) == (("arrived partly damaged: 0.5 s can't be played", 1),)
    assert [gap.why for gap in account.gaps(ledger)] == [account.WHY[DAMAGED]]
    assert [account.note(entry) for entry in ledger.entries] == [None, "partly damaged"]


def test_what_was_not_recorded_is_told_and_is_no_loss() -> None:
    """The recording is complete; readers see where the microphone gave nothing."""
    facts = replace(mp4(60), unrecorded=(Hole(to_samples(DurationMs(2000)), to_samples(DurationMs(5000))),))
    ledger = lay_out(over(), [stored("$1", 1, facts)])
    assert account.troubles(ledger) == ()
    assert [(gap.position, gap.length, gap.why) for gap in account.gaps(ledger)] == [
        (2000, 5000, "not recorded: the microphone gave no sound")
    ]
    assert [account.note(entry) for entry in ledger.entries] == ["partly not recorded"]
    assert account.whole(over(RecordingState.COMPLETE), account.loss_of(ledger)) == "complete"
    assert [(mark.at, mark.title) for mark in marks(ledger)] == [
        (0, "Beginning"),
        (2000, "5 s missing"),
        (7000, "Resumed"),
    ]
    stutter = replace(mp4(60), unrecorded=(Hole(to_samples(DurationMs(2000)), to_samples(DurationMs(400))),))
    assert marks(lay_out(over(), [stored("$1", 1, stutter)])) == ()


def test_a_double_is_no_loss() -> None:
    """A chunk whose number another one has is listed as a duplicate, and nothing is missing for it."""
    ledger = lay_out(over(), [*said(HERE, HERE), stored("$twin", 2, mp4(60), position=50)])
    assert [str(entry.state) for entry in ledger.entries] == ["stored", "stored", "duplicate"]
    assert account.troubles(ledger) == ()
    assert not account.loss_of(ledger).end


def test_what_stands_in_the_file_hangs_on_its_sound_alone() -> None:
    """Not on why something is missing: when that changes, the file that is there still says what it should."""
    found = [lay_out(over(), said(HERE, DAMAGED, state, HERE)) for state in account.WHY]
    assert len({fingerprint(ledger) for ledger in found}) == 1
    assert len({account.silences(account.loss_of(ledger)) for ledger in found}) == 1
    assert len({marks(ledger) for ledger in found}) == 1


@pytest.mark.parametrize(
    ("states", "chapters"),
    [
        ([HERE, DAMAGED, HERE], [(0, "Beginning"), (60, "1 min missing"), (120, "Resumed")]),
        ([DAMAGED, HERE], [(0, "1 min missing"), (60, "Resumed")]),
        ([HERE, DAMAGED, WAITING, HERE], [(0, "Beginning"), (60, "2 min missing"), (180, "Resumed")]),
        ([HERE, DAMAGED], []),
    ],
)  # fmt: skip
def test_chapters_stand_where_something_is_missing(states: list[ChunkState], chapters: list[tuple[int, str]]) -> None:
    """The beginning, each gap, and where the sound goes on; an end that is missing marks nothing in the audio."""
    ledger = lay_out(over(), said(*states))
    assert [(mark.at, mark.title) for mark in marks(ledger)] == [(at * 1000, title) for at, title in chapters]


def test_gaps_are_those_of_the_ledger() -> None:
    """Readers see as many gaps as the ledger has, at the same positions, of the same lengths."""
    ledger = lay_out(over(), said(*([HERE, DAMAGED, WAITING, ChunkState.REDACTED] * 20), HERE))
    told = [(gap.position, gap.length) for gap in account.gaps(ledger)]
    assert told == [(to_ms(gap.position), to_ms(gap.samples)) for gap in ledger.gaps]
    assert all(gap.why for gap in account.gaps(ledger))


@pytest.mark.parametrize("who", [(BEN,), (BEN, UserId("@cara:hs"), BEN)])
def test_members_who_were_not_heard_are_counted(who: tuple[UserId, ...]) -> None:
    """Nobody is named, and nothing of it is a hole in the sound."""
    call = Call()
    call.join(ANN)
    call.keep(slice_of(1, 0))
    for at, user in enumerate(who):
        call.tell(NotHeard(user, "DEV", CallEventKind.UNREACHABLE, Samples(at)))
        call.tell(Heard(user, "DEV", Samples(at + 1)))
    call.tell(closed(1, 10))
    call.tell(Ended(EndedBy.STOPPED))
    loss = account.loss_of(call.ledger)
    count = "1 member" if len(who) == 1 else "2 members"
    assert account.whole(call.recording, loss) == f"incomplete, some sound of {count} is missing"
    assert account.comment(loss) == "no gaps"
    assert account.verdict(call.recording, call.ledger) == "Incomplete: some audio that was sent is missing."


def test_a_time_away_from_a_call_has_its_words() -> None:
    """A gap of a call is told in notices, on pages, and as a trouble in `status`."""
    call = Call()
    call.join(ANN)
    call.keep(slice_of(1, 0), slice_of(1, 2))
    call.tell(WentAway(WINDOW))
    call.tell(CameBack(Samples(2 * WINDOW)))
    call.tell(closed(1, 30))
    call.tell(Ended(EndedBy.STOPPED))
    loss = account.loss_of(call.ledger)
    assert account.whole(call.recording, loss) == "incomplete, 10 s missing at 0:10"
    assert [(gap.position, gap.length, gap.why) for gap in account.gaps(call.ledger)] == [
        (10_000, 10_000, "was said while Aircheck was not in the call")
    ]
    assert account.troubles(call.ledger) == (("was said while Aircheck was not in the call", 1),)
