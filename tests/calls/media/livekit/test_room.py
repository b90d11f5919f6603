"""The room of an SFU, as it tells of it."""

import pytest
from livekit.protocol import models

from bot.calls.media.door import Refused
from bot.calls.media.livekit.room import MOST_PARTICIPANTS, Microphone, Room

MICROPHONE, UNKNOWN, SCREEN = (
    models.TrackSource.MICROPHONE,
    models.TrackSource.UNKNOWN,
    models.TrackSource.SCREEN_SHARE_AUDIO,
)
GONE = models.ParticipantInfo.State.DISCONNECTED


def track(sid: str, source: "models.TrackSource" = MICROPHONE, *, muted: bool = False) -> models.TrackInfo:
    return models.TrackInfo(sid=sid, type=models.TrackType.AUDIO, source=source, muted=muted)


def sealed(sid: str) -> models.TrackInfo:
    return models.TrackInfo(sid=sid, type=models.TrackType.AUDIO, source=MICROPHONE, encryption=models.Encryption.GCM)


def info(
    identity: str, *tracks: models.TrackInfo, sid: str = "PA_1", version: int = 1, gone: bool = False
) -> models.ParticipantInfo:
    state = GONE if gone else models.ParticipantInfo.State.ACTIVE
    return models.ParticipantInfo(identity=identity, sid=sid, version=version, tracks=tracks, state=state)


def microphone(room: Room, identity: str = "anna") -> Microphone | None:
    return room.participants[identity].microphone


@pytest.mark.parametrize(
    ("tracks", "chosen"),
    [
        ([], None),
        ([track("s", SCREEN)], None),
        ([track("u", UNKNOWN), track("s", SCREEN)], Microphone("u", False)),
        ([track("u", UNKNOWN), track("m", muted=True)], Microphone("m", True)),
        ([track("m", muted=True), track("n")], Microphone("n", False)),
        ([models.TrackInfo(sid="v", type=models.TrackType.VIDEO, source=MICROPHONE)], None),
        ([track("")], None),
        ([sealed("m")], Microphone("m", False, encrypted=True)),
    ],
)
def test_which_track_is_the_microphone(tracks: list[models.TrackInfo], chosen: Microphone | None) -> None:
    """A microphone comes before sound of an unknown source, and one that is not muted before one that is."""
    room = Room("bot")
    room.update([info("anna", *tracks)])
    assert microphone(room) == chosen
    assert room.owner("s") is None


def test_of_two_microphones_the_one_before_stays() -> None:
    """The order in which an SFU names the tracks changes nothing."""
    room = Room("bot")
    room.update([info("anna", track("m"))])
    for version, tracks in enumerate(([track("n"), track("m")], [track("m"), track("n")]), 2):
        assert not [one for one in room.update([info("anna", *tracks, version=version)]) if one != "anna"]
        assert microphone(room) == Microphone("m", False)
    room.update([info("anna", track("n"), version=4)])
    assert (room.owner("m"), room.owner("n")) == (None, "anna")


def test_news_that_come_late_change_nothing() -> None:
    """An older version, and the end of a stay before this one, are passed over."""
    room = Room("bot")
    room.update([info("anna", sid="PA_2", version=5)])
    assert room.update([info("anna", track("m"), sid="PA_2", version=4)]) == set()
    assert room.update([info("anna", sid="PA_1", version=9, gone=True)]) == set()
    assert room.update([info("anna", sid="PA_2", version=6, gone=True)]) == {"anna"}
    assert room.update([info("anna", sid="PA_2", version=7, gone=True)]) == set()
    assert room.participants == {}


def test_a_stay_that_follows_another_has_its_own_microphone() -> None:
    """A participant who comes back has the microphone of the new stay alone."""
    room = Room("bot")
    room.update([info("anna", track("m"))])
    room.update([info("anna", sid="PA_2", version=0)])
    assert microphone(room) is None
    assert room.owner("m") is None


def test_the_room_is_bounded() -> None:
    """Not more participants are known than a call can have; we and the nameless are none of them."""
    room = Room("bot")
    room.update([info(f"p{number}") for number in range(MOST_PARTICIPANTS + 10)])
    assert len(room.participants) == MOST_PARTICIPANTS
    assert room.update([info("bot"), info(""), info("x" * 600)]) == set()


def test_a_flood_of_participants_is_refused() -> None:
    """A message that names more participants than a room has is not taken."""
    with pytest.raises(Refused, match="too_many"):
        Room("me").update([models.ParticipantInfo(identity="a")] * 2001)
