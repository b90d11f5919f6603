"""Hostile Ogg: Opus, Vorbis and bytes between pages."""

import random
import struct
from collections.abc import Iterator

from bot.audio.ogg import OggPage, lacing_of, write_page
from tests.audio.hostile.kit import COVER, SECOND, Kit, attack
from tests.audio.test_opus import HEAD, page

TINY = bytes([16 << 3])  # 2.5 ms, one byte
LONG = bytes([3 << 3 | 1])  # two frames of 60 ms, one byte


def opus(packets: Iterator[bytes] | list[bytes], per_page: int = 255, start: int = 2) -> bytes:
    """Return an Ogg Opus file with granules of -1, so that only the packets tell its length."""
    listed = list(packets)
    pages = (page(listed[at : at + per_page], start + at // per_page, -1) for at in range(0, len(listed), per_page))
    return page([HEAD], 0, 0, flags=2) + page([b"OpusTags" + bytes(8)], 1, 0) + b"".join(pages)


def ogg_packets(packets: list[bytes], start: int = 1) -> list[bytes]:
    """Return the pages of these packets, each over as many as it takes."""
    pages: list[bytes] = []
    for packet in packets:
        lacing = lacing_of(packet)
        for at in range(0, len(lacing), 255):
            part = packet[255 * at : 255 * (at + 255)]
            pages.append(write_page(OggPage(bool(at), 0, 5, start + len(pages), lacing[at : at + 255], part)))
    return pages


@attack()
def cover_in_opus(_: Kit) -> bytes:
    """A cover over as many pages as a header may have."""
    size = 255 * 255
    whole, rest = b"\xff" * 255, COVER // size
    parts = [write_page(OggPage(0, -1, 5, 1, whole, (b"OpusTags" + bytes(size))[:size]))]
    parts += [write_page(OggPage(1, -1, 5, 2 + n, whole, bytes(size))) for n in range(rest)]
    parts += [write_page(OggPage(1, 0, 5, 2 + rest, b"\0", b""))]
    sound = [page([LONG] * 9, 3 + rest, 9 * 5760)]
    return b"".join([page([HEAD], 0, 0, flags=2), *parts, *sound])


@attack("undecodable")
def comments_in_vorbis(kit: Kit) -> bytes:
    """Three million comments of three bytes."""
    comments = b"\x03vorbis" + struct.pack("<II", 0, 3_000_000) + (struct.pack("<I", 3) + b"a=b") * 3_000_000 + b"\1"
    head = b"\x01vorbis" + struct.pack("<IBIIIIBB", 0, 1, SECOND, 0, 0, 0, 0xB8, 1)
    return page([head], 0, 0, flags=2) + b"".join(ogg_packets([comments, b"\x05vorbis" + bytes(1000)]))


@attack("too_long", announced_ms=36_000_000)
def silence_in_opus(_: Kit) -> bytes:
    """Ten hours of silence in 600 kB."""
    return opus([LONG] * 300_000)


@attack("too_long", announced_ms=20_000_000)
def silence_within_the_limit_of_a_broadcast(_: Kit) -> bytes:
    """Five hours in 300 kB: no longer than allowed, but much work for few bytes."""
    return opus([LONG] * 150_000)


@attack("too_long", announced_ms=None)
def half_a_million_long_packets(_: Kit) -> bytes:
    return opus([LONG] * 500_000)


@attack("undecodable", "too_long", announced_ms=36_000_000)
def a_million_tiny_packets(_: Kit) -> bytes:
    return opus([TINY] * 1_000_000)


@attack("undecodable", announced_ms=36_000_000)
def a_million_pages_of_one_packet(_: Kit) -> bytes:
    return opus([TINY] * 1_000_000, per_page=1)


@attack("undecodable")
def a_million_empty_pages(_: Kit) -> bytes:
    """The same two pages again and again."""
    return opus([LONG]) + page([], 3, -1) * 1_000_000


@attack("undecodable")
def a_million_foreign_pages(_: Kit) -> bytes:
    other = page([b"other codec"], 0, 0, flags=2, serial=9)
    return page([HEAD], 0, 0, flags=2) + other + page([b"x"], 1, 0, serial=9) * 1_000_000


@attack("undecodable")
def vorbis_of_a_million_small_pages(_: Kit) -> bytes:
    head = b"\x01vorbis" + struct.pack("<IBIIIIBB", 0, 1, SECOND, 0, 0, 0, 0xB8, 1)
    return page([head], 0, 0, flags=2) + page([b"x"], 1, 0) * 2_000_000


@attack("bad_checksum")
def false_pages(_: Kit) -> bytes:
    """Sixty megabytes behind a healthy page in which each fourth byte might begin another."""
    return opus([LONG]) + b"OggS" * 15_000_000


@attack("bad_checksum")
def large_false_pages(_: Kit) -> bytes:
    """Pages of 65 kB with wrong checksums, each with other pages at its beginning."""
    wrong = bytearray(page([bytes(250)] * 255, 3, 0))
    wrong[22] ^= 1
    return opus([LONG]) + (bytes(wrong[:27]) * 5 + bytes(wrong)) * 800


@attack("", "too_long")
def pages_that_leave_out_every_second(_: Kit) -> bytes:
    return page([HEAD], 0, 0, flags=2) + b"".join(page([LONG], 2 * number, -1) for number in range(1, 7000))


def empty_pages(count: int) -> bytes:
    """Return pages of 255 packets without bytes, numbered from 3 on.

    Only their numbers differ, and Ogg's checksum is linear: each bit of a number changes the same bits of the checksum.
    """
    number_and_sum = struct.Struct("<18xII")
    blank = page([b""] * 255, 0, -1)
    plain = number_and_sum.unpack_from(blank)[1]
    changes = [number_and_sum.unpack_from(page([b""] * 255, 1 << bit, -1))[1] ^ plain for bit in range(18)]
    pages = []
    for number in range(3, 3 + count):
        checksum = plain
        for bit, change in enumerate(changes):
            if number >> bit & 1:
                checksum ^= change
        pages.append(blank[:18] + struct.pack("<II", number, checksum) + blank[26:])
    return b"".join(pages)


@attack("undecodable")
def packets_without_bytes(_: Kit) -> bytes:
    """Fifty million empty packets, and a few with sound."""
    return opus([LONG]) + empty_pages(200_000)


@attack("undecodable", "")
def holes_by_turns(_: Kit) -> bytes:
    return opus([LONG, b""] * 7000, per_page=254)


@attack("headers_missing")
def header_pages_without_end(_: Kit) -> bytes:
    return page([HEAD], 0, 0, flags=2) * 100_000


@attack("too_long", "undecodable", "")
def a_thousand_chained_streams(_: Kit) -> bytes:
    return opus([LONG] * 10) * 1000


@attack("too_long")
def three_thousand_links(_: Kit) -> bytes:
    """Streams of their own, each with an end."""
    return b"".join(
        page([HEAD], 0, 0, flags=2, serial=serial)
        + page([b"OpusTags" + bytes(8)], 1, 0, serial=serial)
        + page([LONG] * 10, 2, 57_600, flags=4, serial=serial)
        for serial in range(3000)
    )


@attack()
def links_of_vorbis(kit: Kit) -> bytes:
    """A new stream, with the decoder's tables, each tenth of a second."""
    return kit.ffmpeg("v.ogg", "-f", "lavfi", "-i", "sine=d=0.1", "-c:a", "libvorbis", "-f", "ogg") * 500


@attack("undecodable")
def opus_of_255_channels(_: Kit) -> bytes:
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 255, 312, SECOND, 0, 255) + bytes([255, 0]) + bytes(range(255))
    packet = bytes([31 << 3, 1, 0]) * 254 + bytes([31 << 3, 0])
    sound = (page([packet] * 50, 2 + number, 48_000 * (number + 1)) for number in range(100))
    return page([head], 0, 0, flags=2) + page([b"OpusTags" + bytes(8)], 1, 0) + b"".join(sound)


@attack()
def opus_of_wild_granules(_: Kit) -> bytes:
    """Page numbers and granules that jump to the end of their range and back."""
    chance = random.Random(9)
    wild = (page([LONG] * 10, chance.getrandbits(32), chance.getrandbits(63)) for _ in range(100))
    return page([HEAD], 0, 0, flags=2) + page([b"OpusTags" + bytes(8)], 1, 0) + b"".join(wild)


@attack("undecodable", announced_ms=36_000_000)
def opus_of_streams_that_nobody_hears(_: Kit) -> bytes:
    """Thirty streams to decode for a single channel."""
    head = b"OpusHead" + struct.pack("<BBHIhBBBB", 1, 1, 312, SECOND, 0, 255, 30, 0, 0)
    packet = (bytes([31 << 3 | 3, 6, 2]) + bytes(12)) * 29 + bytes([31 << 3 | 3, 6]) + bytes(12)
    pages = b"".join(page([packet], 2 + number, -1) for number in range(7400))
    return page([head], 0, 0, flags=2) + page([b"OpusTags" + bytes(8)], 1, 0) + pages


@attack("", announced_ms=36_000_000)
def opus_of_padding(_: Kit) -> bytes:
    """Sixty megabytes of padding."""
    packet = bytes([31 << 3 | 3, 0x41]) + b"\xff" * 65_000
    pages = b"".join(page([packet], 2 + number, -1) for number in range(920))
    return page([HEAD], 0, 0, flags=2) + page([b"OpusTags" + bytes(8)], 1, 0) + pages


@attack("too_long", announced_ms=36_000_000)
def opus_of_eight_channels(_: Kit) -> bytes:
    """A quarter of an hour of eight channels in 300 kB."""
    head = b"OpusHead" + struct.pack("<BBHIhBBB8B", 1, 8, 312, SECOND, 0, 255, 8, 0, *range(8))
    packet = bytes([31 << 3 | 3, 6, 0]) * 7 + bytes([31 << 3 | 3, 6])
    pages = b"".join(page([packet] * 10, 2 + number, -1) for number in range(740))
    return page([head], 0, 0, flags=2) + page([b"OpusTags" + bytes(8)], 1, 0) + pages
