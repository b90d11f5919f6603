"""The speakers of a recording."""

from dataclasses import replace

from bot.recording.chunks import redacted
from bot.recording.kinds import lay_out
from bot.recording.model import Forgotten, Outcome, Redacted
from bot.recording.speakers import LONGEST_NAME, MOST_CREDITED, Speaker, credited, name_of, speakers
from storage.records import Chunk, ChunkState, Credit, Recording, Samples, UserId
from tests.recording.session.samples import a_session
from tests.recording.world import ALICE, SECOND, World, mp4

ANN, BEN = UserId("@ann:hs"), UserId("@ben:hs")


def of(recording: Recording, chunks: list[Chunk]) -> tuple[Speaker, ...]:
    return speakers(recording, chunks, lay_out(recording, chunks))


def test_the_order_of_the_first_sound() -> None:
    """Speakers stand in the order of their first sound, each with all that is heard of them."""
    session, messages = a_session("ben 2", "ann 3", "ben 4")
    assert of(session, messages[::-1]) == (
        Speaker(Credit(BEN, "Ben"), Samples(6 * SECOND)),
        Speaker(Credit(ANN, "Ann"), Samples(3 * SECOND)),
    )


def test_a_broadcast_has_one() -> None:
    """The speaker of a broadcast has the name that they had when it began."""
    world = World()
    world.recording = replace(world.recording, broadcaster_name="Alice")
    world.say("$1", 1, mp4(5))
    world.say("$2", 2, mp4(5))
    assert of(world.recording, list(world.chunks)) == (Speaker(Credit(ALICE, "Alice"), Samples(10 * SECOND)),)


def test_the_name_when_they_spoke() -> None:
    """Whoever changes their name is shown under the one of their first message."""
    session, messages = a_session("ann 2", "ann 3")
    renamed = [messages[0], replace(messages[1], sender_name="Anna")]
    assert [speaker.credit.name for speaker in of(session, renamed)] == ["Ann"]


def test_whoever_is_not_heard_is_no_speaker() -> None:
    """A message that can't be heard makes nobody a speaker."""
    session, messages = a_session("ann 2", "ben 3")
    unheard = replace(messages[1], state=ChunkState.WAITING_FOR_MEDIA, facts=None, blob=None)
    assert [speaker.credit.user_id for speaker in of(session, [messages[0], unheard])] == [ANN]


def test_a_redacted_message_has_no_name() -> None:
    """The name goes with the message, also where it is the name of the whole session."""
    session, messages = a_session("ann 2", "ben 3")
    assert messages[0].event_id is not None
    after = redacted(Outcome(session, tuple(messages)), Redacted(messages[0].event_id, ANN))
    assert [speaker.credit.name for speaker in of(after.recording, list(after.chunks))] == ["Ben"]
    assert after.chunks[0].sender_name is None
    assert name_of(after.recording, after.chunks[0]) is None


def test_a_forgotten_speaker_has_no_name() -> None:
    """Forgetting one of several speakers removes their name from every message."""
    session, messages = a_session("ben 2", "ann 3", "ann 4")
    after = redacted(Outcome(session, tuple(messages)), Forgotten(ANN))
    assert [speaker.credit.name for speaker in of(after.recording, list(after.chunks))] == ["Ben"]
    assert [chunk.sender_name for chunk in after.chunks] == ["Ben", None, None]


def test_whoever_has_nothing_left_begins_nothing() -> None:
    """When the messages of whoever began a session are taken out, the next speaker is its broadcaster."""
    session, messages = a_session("ann 2", "ben 3", "cem 4")
    after = redacted(Outcome(session, tuple(messages)), Forgotten(ANN))
    left = credited(after.recording, after.chunks, lay_out(after.recording, after.chunks))
    assert (left.broadcaster, left.broadcaster_name) == (BEN, "Ben")
    assert [credit.name for credit in left.speakers] == ["Ben", "Cem"]


def test_a_session_of_which_nothing_is_left_names_nobody() -> None:
    """No name stays behind when the last message is taken out."""
    session, messages = a_session("ann 2")
    assert messages[0].event_id is not None
    after = redacted(Outcome(session, tuple(messages)), Redacted(messages[0].event_id, ANN))
    left = credited(after.recording, after.chunks, lay_out(after.recording, after.chunks))
    assert (left.broadcaster, left.broadcaster_name, left.speakers) == (ANN, None, ())


def test_the_first_who_is_heard_is_the_broadcaster() -> None:
    """Whoever began a session has it only while nobody else is heard in it."""
    session, messages = a_session("ann 2", "ben 3")
    fetched = [replace(each, state=ChunkState.WAITING_FOR_MEDIA, facts=None, blob=None) for each in messages]
    for chunks, who in (fetched, ANN), ([fetched[0], messages[1]], BEN), (messages, ANN):
        now = credited(session, chunks, lay_out(session, chunks))
        assert now.broadcaster == who


def test_a_row_keeps_so_many_names_of_such_a_length() -> None:
    """However many people speak, under whatever names, the row of their session stays small."""
    session, messages = a_session(*(f"user{number} 1" for number in range(MOST_CREDITED + 5)))
    chunks = [replace(message, sender_name="x" * 60_000) for message in messages]
    left = credited(session, chunks, lay_out(session, chunks))
    assert len(left.speakers) == MOST_CREDITED
    assert {len(credit.name or "") for credit in left.speakers} == {LONGEST_NAME}
