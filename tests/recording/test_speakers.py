"""The speakers of a recording."""

from dataclasses import replace

from bot.recording.chunks import redacted
from bot.recording.kinds import lay_out
from bot.recording.model import Forgotten, Outcome, Redacted
from bot.recording.speakers import Speaker, name_of, speakers
from storage.records import Chunk, ChunkState, Recording, Samples, UserId
from tests.recording.session.samples import a_session
from tests.recording.world import ALICE, SECOND, World, mp4

ANN, BEN = UserId("@ann:hs"), UserId("@ben:hs")


def of(recording: Recording, chunks: list[Chunk]) -> tuple[Speaker, ...]:
    return speakers(recording, chunks, lay_out(recording, chunks))


def test_the_order_of_the_first_sound() -> None:
    """Speakers stand in the order of their first sound, each with all that is heard of them."""
    session, messages = a_session("ben 2", "ann 3", "ben 4")
    assert of(session, messages[::-1]) == (
        Speaker(BEN, "Ben", Samples(6 * SECOND)),
        Speaker(ANN, "Ann", Samples(3 * SECOND)),
    )


def test_a_broadcast_has_one() -> None:
    """The speaker of a broadcast has the name that they had when it began."""
    world = World()
    world.recording = replace(world.recording, broadcaster_name="Alice")
    world.say("$1", 1, mp4(5))
    world.say("$2", 2, mp4(5))
    assert of(world.recording, list(world.chunks)) == (Speaker(ALICE, "Alice", Samples(10 * SECOND)),)


def test_the_name_when_they_spoke() -> None:
    """Whoever changes their name is shown under the one of their first message."""
    session, messages = a_session("ann 2", "ann 3")
    renamed = [messages[0], replace(messages[1], sender_name="Anna")]
    assert [speaker.name for speaker in of(session, renamed)] == ["Ann"]


def test_whoever_is_not_heard_is_no_speaker() -> None:
    """A message that can't be heard makes nobody a speaker."""
    session, messages = a_session("ann 2", "ben 3")
    unheard = replace(messages[1], state=ChunkState.WAITING_FOR_MEDIA, facts=None, blob=None)
    assert [speaker.user_id for speaker in of(session, [messages[0], unheard])] == [ANN]


def test_a_redacted_message_has_no_name() -> None:
    """The name goes with the message, also where it is the name of the whole session."""
    session, messages = a_session("ann 2", "ben 3")
    assert messages[0].event_id is not None
    after = redacted(Outcome(session, tuple(messages)), Redacted(messages[0].event_id, ANN))
    assert [speaker.name for speaker in of(after.recording, list(after.chunks))] == ["Ben"]
    assert after.chunks[0].sender_name is None
    assert name_of(after.recording, after.chunks[0]) is None


def test_a_forgotten_speaker_has_no_name() -> None:
    """Forgetting one of several speakers removes their name from every message."""
    session, messages = a_session("ben 2", "ann 3", "ann 4")
    after = redacted(Outcome(session, tuple(messages)), Forgotten(ANN))
    assert [speaker.name for speaker in of(after.recording, list(after.chunks))] == ["Ben"]
    assert [chunk.sender_name for chunk in after.chunks] == ["Ben", None, None]
