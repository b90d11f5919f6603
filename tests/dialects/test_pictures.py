"""Pictures that people post."""

from typing import Any

import pytest

from bot.dialects.pictures import picture
from storage.records import EventId, HeardEvent, MediaSource, MxcUri, RoomId

MXC = "mxc://hs/picture"


def heard(content: Any, kind: str = "m.room.message") -> HeardEvent:
    return HeardEvent(RoomId("!r:hs"), EventId("$e"), {"type": kind, "sender": "@a:hs", "content": content})


def test_a_picture_is_read_by_its_source() -> None:
    """The source alone counts; what the sender says of type and size does not."""
    content = {"msgtype": "m.image", "body": "a.png", "url": MXC, "info": {"mimetype": "text/html", "size": -1}}
    assert picture(heard(content)) == MediaSource(MxcUri(MXC))


@pytest.mark.parametrize(
    "event",
    [
        heard({"msgtype": "m.file", "url": MXC}),
        heard({"msgtype": "m.image", "url": "https://hs/picture"}),
        heard({"msgtype": "m.image", "file": {"url": MXC}}),
        heard({"msgtype": "m.image", "url": MXC}, "m.sticker"),
        heard({"ciphertext": "…"}, "m.room.encrypted"),
        heard({}),
        heard(["m.image"]),
    ],
    ids=["a file", "another address", "half encrypted", "a sticker", "undecrypted", "redacted", "junk"],
)
def test_everything_else_is_none(event: HeardEvent) -> None:
    """A message without a picture that can be fetched gives no source."""
    assert picture(event) is None
