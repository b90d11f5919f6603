"""Voice messages of several people in one room, as clients send them: each is a whole Ogg file."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from bot.demo.people import Person
from bot.demo.slicing import Slicer
from bot.event_types import MESSAGE
from storage.records import Json, Samples, to_ms

MIMETYPE = "audio/ogg"
LONGEST_S = 3600


@dataclass(frozen=True, slots=True)
class Message:
    """A voice message that is recorded and not sent yet; `samples` is its exact length at 48 kHz."""

    name: str  # of its speaker
    person: Person
    ogg: bytes
    samples: Samples


def record(name: str, person: Person, packets: Sequence[bytes]) -> Message:
    """Record these packets of Opus as one message."""
    recorder = Slicer(secrets.randbits(32), LONGEST_S)
    recorder.feed(packets)
    recorder.end()
    return Message(name, person, recorder.ogg(), recorder.audible)


async def send(message: Message, room_id: str) -> str:
    """Upload a message and send it, encrypted as the room is; give its event id."""
    person = message.person
    media = await person.upload(message.ogg, MIMETYPE, encrypted=await person.is_encrypted(room_id))
    where: Json = {"url": media.mxc} if media.file is None else {"file": {**media.file, "url": media.mxc}}
    length = to_ms(message.samples)
    return await person.send(
        room_id,
        MESSAGE,
        {
            "body": "Voice message",
            "msgtype": "m.audio",
            **where,
            "info": {"duration": length, "mimetype": MIMETYPE, "size": len(message.ogg)},
            "org.matrix.msc1767.audio": {"duration": length},
            "org.matrix.msc3245.voice": {},
        },
    )
