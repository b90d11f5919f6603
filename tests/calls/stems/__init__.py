"""Sound for stems: packets as the media hand them on."""

from collections.abc import Iterator
from pathlib import Path

from bot.audio.ogg import PacketReader, read_pages
from bot.audio.opus_packets import duration
from bot.calls.media.door import NOTHING, OpusPacket
from storage.records import Position, Samples, Stem, UserId

ANN, BOB = UserId("@ann:hs"), UserId("@bob:hs")
FRAME = 960  # samples of a packet


def a_stem(number: int = 1, joined: int = 0, user_id: UserId = ANN) -> Stem:
    return Stem(
        number=number,
        user_id=user_id,
        device_id=f"DEV{number}",
        name=user_id[1:4].title(),
        joined=Samples(joined),
        position=Position(1),
        serial=1000 + number,
    )


def packet(at: int, number: int = 0, *, lost_before: int = 0) -> OpusPacket:
    """Return a packet of 20 ms of CELT whose bytes are told by its number; its sound lies at `at`."""
    payload = b"\xf8" + number.to_bytes(4, "big") + bytes([number % 251]) * 60
    return OpusPacket(Samples(at + 312), Samples(FRAME), payload, Samples(lost_before) if lost_before else NOTHING)


def packets(begin: int, end: int) -> Iterator[OpusPacket]:
    """Yield packets from `begin` on, the last one beginning before `end`."""
    for number, at in enumerate(range(begin, end, FRAME)):
        yield packet(at, number)


def packets_in(file: Path) -> list[bytes]:
    """Return the packets of a stem's file, without its headers. Raises GiveUp for a file that is not whole."""
    reader, found = PacketReader(), list[bytes]()
    with file.open("rb") as opened:
        for page in read_pages(opened):
            found += reader.feed(page)
    return found[2:]


def length_of_file(file: Path) -> int:
    """Return the samples of all packets in a stem's file."""
    return sum(duration(each) for each in packets_in(file))
