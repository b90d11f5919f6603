"""Hostile MP4: boxes, tables, edits and fragments."""

import struct
import zlib
from dataclasses import dataclass, field

from tests.audio.hostile.kit import COVER, SECOND, Kit, attack


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I", 8 + len(body)) + kind + body


def full(kind: bytes, *content: bytes) -> bytes:
    """Return a box with version 0 and no flags."""
    return box(kind, bytes(4), *content)


@dataclass(frozen=True)
class Movie:
    """An MP4 of 16-bit PCM with tables of any kind. Without any, it is one healthy second."""

    stts: bytes = struct.pack(">III", 1, SECOND, 1)
    stsc: bytes = struct.pack(">IIII", 1, 1, SECOND, 1)
    stsz: bytes = struct.pack(">II", 2, SECOND)
    stco: bytes = struct.pack(">II", 1, 32)
    dref: bytes = struct.pack(">I", 1) + struct.pack(">I4sI", 12, b"url ", 1)
    edits: bytes = b""
    more: bytes = b""  # in the sample table
    data: bytes = bytes(2 * SECOND)
    entry: bytes = field(
        default=struct.pack(">I4s6xH", 36, b"sowt", 1) + struct.pack(">HHIHHHHI", 0, 0, 0, 1, 16, 0, 0, SECOND << 16)
    )

    def __bytes__(self) -> bytes:
        table = box(
            b"stbl",
            full(b"stsd", struct.pack(">I", 1), self.entry),
            full(b"stts", self.stts),
            full(b"stsc", self.stsc),
            full(b"stsz", self.stsz),
            full(b"stco", self.stco),
            self.more,
        )
        information = box(b"minf", full(b"smhd", bytes(4)), box(b"dinf", full(b"dref", self.dref)), table)
        header = full(b"mdhd", struct.pack(">IIIIHH", 0, 0, SECOND, SECOND, 0, 0))
        media = box(b"mdia", header, full(b"hdlr", bytes(4), b"soun", bytes(13)), information)
        track = box(b"trak", full(b"tkhd", struct.pack(">IIIII", 0, 0, 1, 0, 1000), bytes(60)), self.edits, media)
        movie = full(b"mvhd", struct.pack(">IIII", 0, 0, 1000, 1000), bytes(80))
        return box(b"ftyp", b"M4A \0\0\0\0isommp42") + box(b"mdat", self.data) + box(b"moov", movie, track)


@attack("undecodable", "")
def mp4_with_outside_data(kit: Kit) -> bytes:
    """QuickTime may keep its sound in another file."""
    name = str(kit.canary).encode()
    alias = bytes(10) + b"\0" * 140 + struct.pack(">hH", 2, len(name)) + name + struct.pack(">hH", 18, len(name)) + name
    reference = struct.pack(">I", 1) + box(b"alis", bytes(4), alias) + box(b"url ", bytes(4), kit.url.encode() + b"\0")
    return bytes(Movie(dref=reference))


@attack()
def video_beside(kit: Kit) -> bytes:
    """A 4K video and a time code beside the sound."""
    video = ("-f", "lavfi", "-i", "color=s=3840x2160:r=5:d=1", "-f", "lavfi", "-i", "sine=d=1")
    return kit.ffmpeg("v.mp4", *video, "-c:v", "mpeg4", "-c:a", "aac", "-timecode", "00:00:00:00", "-f", "mp4")


@attack()
def cover_in_mp4(_: Kit) -> bytes:
    cover = box(b"covr", box(b"data", struct.pack(">II", 13, 0), bytes(COVER)))
    return bytes(Movie()) + box(
        b"moov", box(b"udta", full(b"meta", full(b"hdlr", bytes(4), b"mdir"), box(b"ilst", cover)))
    )


@attack("undecodable")
def boxes_in_boxes(_: Kit) -> bytes:
    """Ten thousand boxes, each within the one before."""
    nested = b""
    for _level in range(10_000):
        nested = box(b"trak", nested)
    return box(b"ftyp", b"M4A \0\0\0\0") + box(b"moov", nested)


@attack("undecodable")
def containers_in_containers(_: Kit) -> bytes:
    """Ten thousand boxes in each other, of kinds that players look into."""
    nested = b""
    for level in range(10_000):
        nested = box((b"mdia", b"minf", b"udta", b"stbl")[level % 4], nested)
    return box(b"ftyp", b"M4A \0\0\0\0") + box(b"moov", nested)


@attack("undecodable", "truncated")
def a_million_small_boxes(_: Kit) -> bytes:
    return box(b"ftyp", b"M4A \0\0\0\0") + box(b"moov", box(b"trak") * 1_000_000)


@attack("truncated", "undecodable")
def boxes_of_wrong_sizes(_: Kit) -> bytes:
    start = box(b"ftyp", b"M4A \0\0\0\0")
    wrong = (0, 1, 2, 7, 0x7FFFFFFF, 0xFFFFFFFF)
    return start + b"".join(struct.pack(">I4s", size, b"moov") for size in reversed(wrong))


@attack("truncated")
def a_box_of_exabytes(_: Kit) -> bytes:
    return box(b"ftyp", b"M4A \0\0\0\0") + struct.pack(">I4sQ", 1, b"moov", (1 << 64) - 1)


@attack("undecodable", "too_long", "", announced_ms=36_000_000)
def table_of_billions_of_times(_: Kit) -> bytes:
    return bytes(Movie(stts=struct.pack(">I", 100_000) + struct.pack(">II", 0xFFFFFFFF, 1) * 100_000))


@attack("undecodable", "too_long", "")
def table_that_is_not_there(_: Kit) -> bytes:
    """Four billion sizes are announced, none follows."""
    return bytes(Movie(stsz=struct.pack(">II", 0, 0xFFFFFFFF), stts=struct.pack(">I", 0xFFFFFFFF)))


@attack("undecodable", "too_long", "truncated", announced_ms=36_000_000)
def table_of_billions_of_samples(_: Kit) -> bytes:
    return bytes(
        Movie(
            stsz=struct.pack(">II", 1, 0xFFFFFFFF),
            stts=struct.pack(">III", 1, 0xFFFFFFFF, 1),
            stsc=struct.pack(">IIII", 1, 1, 0xFFFFFFFF, 1),
        )
    )


@attack("undecodable", "too_long", "")
def table_of_offsets_backwards(_: Kit) -> bytes:
    """A hundred thousand chunks, all at the same place."""
    places = struct.pack(">I", 100_000) + struct.pack(">I", 32) * 100_000
    return bytes(Movie(stco=places, stsz=struct.pack(">II", 2, 100_000), stsc=struct.pack(">IIII", 1, 1, 1, 1)))


@attack("undecodable", "too_long", "")
def composition_table(_: Kit) -> bytes:
    return bytes(
        Movie(more=full(b"ctts", struct.pack(">I", 1_000_000) + struct.pack(">II", 0xFFFFFFFF, 1) * 1_000_000))
    )


@attack("undecodable")
def table_of_a_million_times(_: Kit) -> bytes:
    """A million times, each for one sample."""
    times = struct.pack(">I", 1_000_000) + struct.pack(">II", 1, 1) * 1_000_000
    one = struct.pack(">IIII", 1, 1, 1_000_000, 1)
    return bytes(Movie(stts=times, stsz=struct.pack(">II", 2, 1_000_000), stsc=one))


@attack("undecodable")
def movie_in_zlib(_: Kit) -> bytes:
    """A movie of 400 MB, compressed."""
    packed = zlib.compress(box(b"moov", bytes(400_000_000)), 9)
    parts = box(b"dcom", b"zlib"), box(b"cmvd", struct.pack(">I", 400_000_008), packed)
    return box(b"ftyp", b"qt  \0\0\0\0") + box(b"moov", box(b"cmov", *parts))


@attack("undecodable", "")
def alac_of_huge_frames(kit: Kit) -> bytes:
    sound = bytearray(kit.ffmpeg("a.m4a", "-f", "lavfi", "-i", "sine=d=1", "-c:a", "alac", "-f", "ipod"))
    at = sound.index(b"alac", sound.index(b"alac", sound.index(b"stsd")) + 4)  # the cookie, within the entry
    sound[at + 8 : at + 12] = struct.pack(">I", 1 << 24)
    sound[at + 17] = 8  # channels
    return bytes(sound)


@attack("undecodable")
def edits_to_the_last_sample(_: Kit) -> bytes:
    """For each edit a player copies all since the last key frame, which is the first sample."""
    edits = struct.pack(">I", 3000) + struct.pack(">IiI", 1, SECOND - 1, 1 << 16) * 3000
    places = struct.pack(">I", SECOND) + struct.pack(">I", 32) * SECOND
    one, keys = struct.pack(">IIII", 1, 1, 1, 1), full(b"stss", struct.pack(">II", 1, 1))
    return bytes(Movie(edits=box(b"edts", full(b"elst", edits)), stsc=one, stco=places, more=keys))


@attack("undecodable", announced_ms=36_000_000)
def edits_of_years(_: Kit) -> bytes:
    edits = struct.pack(">I", 50_000) + struct.pack(">IiI", 0x7FFFFFFF, -1, 1 << 16) * 49_999
    return bytes(Movie(edits=box(b"edts", full(b"elst", edits + struct.pack(">IiI", 0x7FFFFFFF, 7, 1 << 16)))))


@attack("undecodable", announced_ms=36_000_000)
def edits_that_repeat(_: Kit) -> bytes:
    """The same second fifty thousand times."""
    return repeated(50_000)


@attack(announced_ms=36_000_000)
def edits_that_may_be(_: Kit) -> bytes:
    """The same second, no more often than allowed."""
    return repeated(200)


def repeated(times: int) -> bytes:
    edits = struct.pack(">I", times) + struct.pack(">IiI", 1000, 0, 1 << 16) * times
    return bytes(Movie(edits=box(b"edts", full(b"elst", edits))))


def fragmented(*parts: bytes) -> bytes:
    """Return a movie without samples of its own, and the parts behind it."""
    none = struct.pack(">I", 0)
    movie = bytes(Movie(stts=none, stsc=none, stsz=bytes(8), stco=none, data=b""))
    at = movie.index(b"moov") - 4
    more = box(b"mvex", full(b"trex", struct.pack(">IIIII", 1, 1, 1, 2, 0)))
    return movie[:at] + struct.pack(">I", len(movie) - at + len(more)) + movie[at + 4 :] + more + b"".join(parts)


def fragment(samples: int) -> bytes:
    run = box(b"trun", struct.pack(">II", 0, samples))
    return box(b"moof", full(b"mfhd", b"\0\0\0\1"), box(b"traf", full(b"tfhd", b"\0\0\0\1"), run))


@attack("undecodable", "")
def fragment_of_billions(_: Kit) -> bytes:
    return fragmented(fragment(0xFFFFFFFF), box(b"mdat", bytes(1000)))


@attack("undecodable", "")
def a_hundred_thousand_fragments(_: Kit) -> bytes:
    return fragmented((fragment(10) + box(b"mdat", bytes(20))) * 100_000)


@attack("undecodable")
def indexes_of_segments(_: Kit) -> bytes:
    """Fifty indexes, each as long as it may be."""
    index = struct.pack(">IIIIHH", 1, 1000, 0, 0, 0, 65_535) + struct.pack(">III", 10, 10, 0) * 65_535
    return fragmented(full(b"sidx", index) * 50, fragment(10))
