"""Files that somebody might send to read our disk, to call home, or to eat time and memory. Nothing here is downloaded.

Each is made by a function of a `Kit`, which holds what the file wants to reach.
"""

import bz2
import random
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bot.audio.mp3 import read_header
from bot.audio.ogg import OggPage, lacing_of, write_page
from tests.audio.sounds import ADTS, FLAC, M4A, MP3, WAV, Studio, signal
from tests.audio.test_opus import HEAD, page

SECOND = 48_000
COVER = 50_000_000  # bytes
TINY = bytes([16 << 3])  # 2.5 ms, one byte
LONG = bytes([3 << 3 | 1])  # two frames of 60 ms, one byte


@dataclass(frozen=True)
class Kit:
    """What an attacker wishes for: a file of ours (sound, so that it can be heard) and a port that listens."""

    studio: Studio
    canary: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/x.ts"

    def ffmpeg(self, name: str, *arguments: str) -> bytes:
        """What the real program writes."""
        path = self.studio.folder / name
        subprocess.run([self.studio.exe, "-v", "error", *arguments, "-y", str(path)], check=True)
        return path.read_bytes()

    def sound(self, form: tuple[str, ...], *more: str) -> bytes:
        return self.studio.record("healthy", signal(SECOND), form, *more).read_bytes()


Make = Callable[[Kit], bytes]


@dataclass(frozen=True)
class Attack:
    """`outcomes`: the reasons that it may be refused with; empty where it must be decoded, "" where it may be."""

    make: Make
    outcomes: frozenset[str] = frozenset()
    announced_ms: int | None = 120_000


ATTACKS: dict[str, Attack] = {}


def attack(*outcomes: str, announced_ms: int | None = 120_000) -> Callable[[Make], Make]:
    """Puts a file into the collection under its function's name."""

    def keep(make: Make) -> Make:
        ATTACKS[make.__name__] = Attack(make, frozenset(outcomes), announced_ms)
        return make

    return keep


# ---- other files' names in the clothes of sound


def playlists(kit: Kit) -> dict[str, bytes]:
    """Whatever makes a player open something else: by path, by address, by both."""
    path, url = str(kit.canary), kit.url
    texts = {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile://{path}\n#EXTINF:5,\n{url}\n#EXT-X-ENDLIST\n",
        "hls_map": f'#EXTM3U\n#EXT-X-MAP:URI="file://{path}"\n#EXTINF:5,\nconcat:{path}|{url}\n#EXT-X-ENDLIST\n',
        "hls_key": f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n#EXTINF:5,\n{path}\n#EXT-X-ENDLIST\n',
        "hls_master": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{url}\n#EXT-X-STREAM-INF:BANDWIDTH=2\n{path}\n",
        "ffconcat": f"ffconcat version 1.0\nfile {path}\nfile {url}\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="audio/mp4"><Representation id="1" '
        f'bandwidth="1"><BaseURL>{path}</BaseURL></Representation><Representation id="2" bandwidth="2"><BaseURL>{url}'
        "</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "xml_entity": f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file://{path}">]><MPD>&x;</MPD>',
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio {kit.port} RTP/AVP 0\n",
        "pls": f"[playlist]\nFile1={path}\nFile2={url}\nNumberOfEntries=2\n",
        "asx": f'<asx version="3.0"><entry><ref href="{url}"/></entry><entry><ref href="file://{path}"/></entry></asx>',
        "rtsp_redirect": f"RTSPtext\r\nrtsp://127.0.0.1:{kit.port}/x\r\n",
        "vobsub": f"# VobSub index file, v7\nid: en, index: 0\n# {path}\ntimestamp: 00:00:00:000, filepos: 000000000\n",
        "cue": f'FILE "{path}" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n',
    }
    return {name: text.encode() for name, text in texts.items()}


CLOAKS: dict[str, Callable[[bytes], bytes]] = {
    "bare": lambda text: text,
    "ogg": lambda text: page([HEAD], 0, 0, flags=2) + page([b"OpusTags" + text], 1, 0) + page([text], 2, 960),
    "ogg_magic": lambda text: b"OggS" + text,
    "mp4": lambda text: box(b"ftyp", b"M4A \0\0\0\0") + box(b"moov", text) + box(b"mdat", text),
    "wav": lambda text: wav(8, 1, 8000, text),
    "caf": lambda text: b"caff\0\1\0\0" + text,
    "flac": lambda text: b"fLaC" + text,
    "matroska": lambda text: b"\x1aE\xdf\xa3" + text,
    "mp3": lambda text: id3(b"TIT2", text) + frame(text) + frame(text) + text,
    "adts": lambda text: adts(text) + adts(text),
}


# ---- boxes and frames


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I", 8 + len(body)) + kind + body


def full(kind: bytes, *content: bytes) -> bytes:
    """A box with version 0 and no flags."""
    return box(kind, bytes(4), *content)


def wav(bits: int, channels: int, rate: int, data: bytes, *, align: int | None = None) -> bytes:
    align = channels * bits // 8 if align is None else align
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * align & 0xFFFFFFFF, align & 0xFFFF, bits)
    return (
        struct.pack("<4sI4s", b"RIFF", len(data) + 36, b"WAVE") + form + struct.pack("<4sI", b"data", len(data)) + data
    )


def riff(*chunks: tuple[bytes, bytes], form: bytes = b"RIFF") -> bytes:
    """A second of PCM behind these."""
    sound = wav(16, 1, SECOND, bytes(2 * SECOND))[12:]
    written = (name + struct.pack("<I", len(content)) + content for name, content in chunks)
    return form + b"\xff\xff\xff\xffWAVE" + b"".join(written) + sound


def caf(codec: bytes, rate: float, *chunks: tuple[bytes, bytes], packet: int = 2, frames: int = 1) -> bytes:
    form = struct.pack(">d4sIIIII", rate, codec, 0, packet, frames, 1, 16)
    return b"caff\0\1\0\0" + b"".join(
        name + struct.pack(">q", len(content)) + content for name, content in ((b"desc", form), *chunks)
    )


def id3(kind: bytes, content: bytes) -> bytes:
    return id3_of(kind + _safe(len(content)) + bytes(2) + content)


def id3_of(frames: bytes, flags: int = 0) -> bytes:
    return b"ID3\x04\0" + bytes([flags]) + _safe(len(frames)) + frames


def _safe(size: int) -> bytes:
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


def frame(text: bytes = b"") -> bytes:
    """An MP3 frame (32 kbit/s at 48 kHz: 96 bytes) with words where the sound should be."""
    return (b"\xff\xfb\x14\xc0" + text)[:96].ljust(96, b"\0")


def mp3_frame(version: int, rate: int, mode: int) -> bytes:
    """One of the lowest bit rate, without sound."""
    head = bytes([0xFF, 0xE3 | version << 3, 1 << 4 | rate << 2, mode << 6])
    header = read_header(head)
    assert header is not None
    return head.ljust(header.size, b"\0")


def adts(text: bytes, channels: int = 1) -> bytes:
    size = 7 + len(text[:500])
    head = [0xFF, 0xF1, 0x4C | channels >> 2, (channels & 3) << 6 | size >> 11, size >> 3 & 0xFF]
    return bytes([*head, (size & 7) << 5 | 0x1F, 0xFC]) + text[:500]


@dataclass(frozen=True)
class Movie:
    """An MP4 of 16-bit PCM with whatever tables somebody likes. Without any, it is one healthy second."""

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


def opus(packets: Iterator[bytes] | list[bytes], per_page: int = 255, start: int = 2) -> bytes:
    """An Ogg Opus file; granules of -1, so that only the packets say how long it is."""
    listed = list(packets)
    pages = (page(listed[at : at + per_page], start + at // per_page, -1) for at in range(0, len(listed), per_page))
    return page([HEAD], 0, 0, flags=2) + page([b"OpusTags" + bytes(8)], 1, 0) + b"".join(pages)


def ogg_packets(packets: list[bytes], start: int = 1) -> list[bytes]:
    """Each over as many pages as it takes."""
    pages: list[bytes] = []
    for packet in packets:
        lacing = lacing_of(packet)
        for at in range(0, len(lacing), 255):
            part = packet[255 * at : 255 * (at + 255)]
            pages.append(write_page(OggPage(bool(at), 0, 5, start + len(pages), lacing[at : at + 255], part)))
    return pages


def element(name: str, *content: bytes) -> bytes:
    """Of Matroska, by its id in hex."""
    body = b"".join(content)
    return bytes.fromhex(name) + (1 << 56 | len(body)).to_bytes(8, "big") + body


def matroska(
    *parts: bytes, codec: bytes = b"A_OPUS", private: bytes = HEAD, more: bytes = b"", tracks: int = 1
) -> bytes:
    """So many tracks of sound, with what somebody likes behind them."""
    form = element("E1", element("B5", struct.pack(">f", 48_000.0)), element("9F", b"\1"), element("6264", b"\x10"))
    codes = element("83", b"\2"), element("86", codec), element("63A2", private), form, more
    listed = (element("AE", element("D7", struct.pack(">I", number)), *codes) for number in range(1, tracks + 1))
    body = (element("1549A966", element("2AD7B1", b"\x0f\x42\x40")), element("1654AE6B", *listed), *parts)
    return element("1A45DFA3", element("4282", b"matroska")) + element("18538067", *body)


def cluster(time: int, *blocks: bytes, lacing: int = 0) -> bytes:
    simple = (element("A3", b"\x81\0\0" + bytes([0x80 | lacing]) + block) for block in blocks)
    return element("1F43B675", element("E7", time.to_bytes(4, "big")), *simple)


DEFLATED = element("6D80", element("6240", element("5034", element("4254", b"\0"))))


# ---- sound that brings other things along


@attack("undecodable", "")
def mp4_with_outside_data(kit: Kit) -> bytes:
    """QuickTime may keep its sound in another file."""
    name = str(kit.canary).encode()
    alias = bytes(10) + b"\0" * 140 + struct.pack(">hH", 2, len(name)) + name + struct.pack(">hH", 18, len(name)) + name
    reference = struct.pack(">I", 1) + box(b"alis", bytes(4), alias) + box(b"url ", bytes(4), kit.url.encode() + b"\0")
    return bytes(Movie(dref=reference))


@attack()
def video_beside(kit: Kit) -> bytes:
    """Pictures and a time code, of 4K size."""
    video = ("-f", "lavfi", "-i", "color=s=3840x2160:r=5:d=1", "-f", "lavfi", "-i", "sine=d=1")
    return kit.ffmpeg("v.mp4", *video, "-c:v", "mpeg4", "-c:a", "aac", "-timecode", "00:00:00:00", "-f", "mp4")


@attack()
def subtitles_and_attachment(kit: Kit) -> bytes:
    words, blob = kit.studio.folder / "words.srt", kit.studio.folder / "blob.ttf"
    words.write_text("1\n00:00:00,000 --> 00:00:01,000\n" + "word " * 1000)
    blob.write_bytes(bytes(20_000_000))
    source = ("-f", "lavfi", "-i", "sine=d=1", "-i", str(words), "-attach", str(blob))
    return kit.ffmpeg("s.mkv", *source, "-metadata:s:t", "mimetype=font/ttf", "-c:a", "libopus", "-c:s", "srt")


@attack("")
def subtitles_with_outside_names(kit: Kit) -> bytes:
    words = kit.studio.folder / "words.ass"
    words.write_text(f"[Script Info]\nAudio File: {kit.canary}\nVideo File: {kit.url}\n[Events]\nFormat: Text\n")
    source = ("-f", "lavfi", "-i", "sine=d=1", "-i", str(words))
    return kit.ffmpeg("a.mkv", *source, "-c:a", "libopus", "-c:s", "ass")


@attack("undecodable")
def pictures_only(kit: Kit) -> bytes:
    return kit.ffmpeg("only.mkv", "-f", "lavfi", "-i", "color=s=640x480:d=1", "-c:v", "mpeg4")


@attack()
def cover_in_mp3(kit: Kit) -> bytes:
    return id3(b"APIC", b"\0image/jpeg\0\3\0" + bytes(COVER)) + kit.sound(MP3, "-id3v2_version", "0")


@attack()
def covers_in_flac(kit: Kit) -> bytes:
    """A block holds 16 MB at most: four of them."""
    picture = (
        struct.pack(">II", 3, 10) + b"image/jpeg" + struct.pack(">6I", 0, 1, 1, 1, 0, COVER // 4) + bytes(COVER // 4)
    )
    sound = kit.sound(FLAC)
    return sound[:42] + 4 * (b"\x06" + len(picture).to_bytes(3, "big") + picture) + sound[42:]


@attack()
def cover_in_mp4(_: Kit) -> bytes:
    cover = box(b"covr", box(b"data", struct.pack(">II", 13, 0), bytes(COVER)))
    return bytes(Movie()) + box(
        b"moov", box(b"udta", full(b"meta", full(b"hdlr", bytes(4), b"mdir"), box(b"ilst", cover)))
    )


@attack()
def cover_in_opus(_: Kit) -> bytes:
    """Spread over as many pages as a header may have."""
    size = 255 * 255
    whole, rest = b"\xff" * 255, COVER // size
    parts = [write_page(OggPage(0, -1, 5, 1, whole, (b"OpusTags" + bytes(size))[:size]))]
    parts += [write_page(OggPage(1, -1, 5, 2 + n, whole, bytes(size))) for n in range(rest)]
    parts += [write_page(OggPage(1, 0, 5, 2 + rest, b"\0", b""))]
    sound = [page([LONG] * 9, 3 + rest, 9 * 5760)]
    return b"".join([page([HEAD], 0, 0, flags=2), *parts, *sound])


@attack("undecodable")
def chapters_in_mp3(kit: Kit) -> bytes:
    """As many as fit into 1 s of opening, and more."""
    chapters = (b"CHAP" + _safe(24) + bytes(2) + b"c%06d\0" % number + bytes(16) for number in range(300_000))
    return id3_of(b"".join(chapters)) + kit.sound(MP3, "-id3v2_version", "0")


@attack("undecodable", "")
def chapters_in_mp3_within_the_limit(kit: Kit) -> bytes:
    """As many as can just be opened: each time that it is, it costs nearly all that it may."""
    chapters = (b"CHAP" + _safe(24) + bytes(2) + b"c%06d\0" % number + bytes(16) for number in range(130_000))
    return id3_of(b"".join(chapters)) + kit.sound(MP3, "-id3v2_version", "0")


@attack()
def compressed_tags_in_mp3(kit: Kit) -> bytes:
    """Each of them says that it is 256 MB."""
    packed = zlib.compress(bytes(100_000_000), 9)
    one = b"APIC" + _safe(4 + len(packed)) + b"\0\x09" + _safe(0x0FFFFFFF) + packed
    return id3_of(one * 20) + kit.sound(MP3, "-id3v2_version", "0")


@attack()
def unsynchronised_cover_in_mp3(kit: Kit) -> bytes:
    """Every second byte is to be left out."""
    picture = b"APIC" + _safe(COVER // 2) + b"\0\x02" + b"\xff\0" * (COVER // 4)
    return id3_of(picture, flags=0x80) + kit.sound(MP3, "-id3v2_version", "0")


@attack("undecodable")
def attachments(_: Kit) -> bytes:
    """Three of 20 MB: ffmpeg keeps them all."""
    name, kind = element("466E", b"x.ttf"), element("4660", b"font/ttf")
    file = element("61A7", name, kind, element("46AE", b"\1"), element("465C", bytes(20_000_000)))
    return matroska(element("1941A469", file * 3), cluster(0, LONG))


@attack("undecodable")
def cover_as_private_data(_: Kit) -> bytes:
    return matroska(cluster(0, LONG), codec=b"A_AAC", private=bytes(COVER))


@attack()
def half_a_million_tags(_: Kit) -> bytes:
    tag = element("7373", element("67C8", element("45A3", b"a"), element("4487", b"b")))
    return matroska(element("1254C367", tag * 500_000), cluster(0, LONG))


@attack("")
def seek_heads_in_a_circle(_: Kit) -> bytes:
    """Each entry leads back to where it stands, each cue to the beginning."""
    circle = element("114D9B74", element("4DBB", element("53AB", b"\x11\x4d\x9b\x74"), element("53AC", b"\0")) * 50_000)
    places = element("B7", element("F7", b"\1"), element("F1", b"\0"))
    cues = (element("BB", element("B3", struct.pack(">I", number)), places) for number in range(100_000))
    return matroska(circle, element("1C53BB6B", *cues), cluster(0, LONG))


@attack("undecodable")
def comments_in_vorbis(kit: Kit) -> bytes:
    """Three million of three bytes."""
    comments = b"\x03vorbis" + struct.pack("<II", 0, 3_000_000) + (struct.pack("<I", 3) + b"a=b") * 3_000_000 + b"\1"
    head = b"\x01vorbis" + struct.pack("<IBIIIIBB", 0, 1, SECOND, 0, 0, 0, 0xB8, 1)
    return page([head], 0, 0, flags=2) + b"".join(ogg_packets([comments, b"\x05vorbis" + bytes(1000)]))


@attack("")
def seek_tables_in_flac(kit: Kit) -> bytes:
    """A million places, all the same."""
    table = struct.pack(">QQH", 1, 1, 4096) * 900_000
    sound = kit.sound(FLAC)
    return sound[:42] + 3 * (b"\x03" + len(table).to_bytes(3, "big") + table) + sound[42:]


@attack()
def words_in_wav(_: Kit) -> bytes:
    """A million, and a history of 50 MB."""
    words = b"INFO" + (b"IART" + struct.pack("<I", 2) + b"a\0") * 1_000_000
    return riff((b"LIST", words), (b"bext", bytes(602) + b"x" * COVER))


# ---- much sound in few bytes


@attack("too_long", announced_ms=36_000_000)
def silence_in_flac(kit: Kit) -> bytes:
    """Ten hours: frames of eight seconds, each of the same few bytes."""
    silence = ("-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "36000", "-frame_size", "65535", "-c:a", "flac")
    return kit.ffmpeg("silence.flac", *silence)


@attack("too_long", announced_ms=36_000_000)
def silence_in_opus(_: Kit) -> bytes:
    """Ten hours in 600 kB."""
    return opus([LONG] * 300_000)


@attack("too_long", announced_ms=20_000_000)
def silence_within_the_limit_of_a_broadcast(_: Kit) -> bytes:
    """Five hours in 300 kB: no longer than allowed, yet much more work than bytes."""
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
    """Behind a healthy one sixty megabytes in which each fourth byte might begin a page, of all lengths."""
    return opus([LONG]) + b"OggS" * 15_000_000


@attack("bad_checksum")
def large_false_pages(_: Kit) -> bytes:
    """Each a page of 65 kB with a wrong checksum, and at its beginning another one."""
    wrong = bytearray(page([bytes(250)] * 255, 3, 0))
    wrong[22] ^= 1
    return opus([LONG]) + (bytes(wrong[:27]) * 5 + bytes(wrong)) * 800


@attack("", "too_long")
def pages_that_leave_out_every_second(_: Kit) -> bytes:
    return page([HEAD], 0, 0, flags=2) + b"".join(page([LONG], 2 * number, -1) for number in range(1, 7000))


@attack("undecodable")
def packets_without_bytes(_: Kit) -> bytes:
    """Fifty million, and a few with sound."""
    return opus([LONG]) + b"".join(page([b""] * 255, 3 + number, -1) for number in range(200_000))


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
    """The tables of a decoder for each tenth of a second."""
    return kit.ffmpeg("v.ogg", "-f", "lavfi", "-i", "sine=d=0.1", "-c:a", "libvorbis", "-f", "ogg") * 500


@attack("undecodable")
def opus_of_255_channels(_: Kit) -> bytes:
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 255, 312, SECOND, 0, 255) + bytes([255, 0]) + bytes(range(255))
    packet = bytes([31 << 3, 1, 0]) * 254 + bytes([31 << 3, 0])
    sound = (page([packet] * 50, 2 + number, 48_000 * (number + 1)) for number in range(100))
    return page([head], 0, 0, flags=2) + page([b"OpusTags" + bytes(8)], 1, 0) + b"".join(sound)


@attack()
def opus_of_wild_granules(_: Kit) -> bytes:
    """Pages and times that jump to the end of all numbers and back."""
    chance = random.Random(9)
    wild = (page([LONG] * 10, chance.getrandbits(32), chance.getrandbits(63)) for _ in range(100))
    return page([HEAD], 0, 0, flags=2) + page([b"OpusTags" + bytes(8)], 1, 0) + b"".join(wild)


@attack("too_long")
def laced_blocks(_: Kit) -> bytes:
    """256 packets in each, one byte long."""
    return matroska(*(cluster(number * 30_000, b"\xff" + LONG * 256, lacing=4) for number in range(200)))


@attack("undecodable")
def blocks_of_compressed_silence(_: Kit) -> bytes:
    """100 MB in each."""
    block = zlib.compress(bytes(100_000_000), 9)
    pages = (cluster(number, block) for number in range(10))
    return matroska(*pages, codec=b"A_PCM/INT/LIT", more=DEFLATED)


@attack("undecodable")
def five_thousand_tracks(_: Kit) -> bytes:
    return matroska(*(cluster(number * 60, LONG) for number in range(1000)), tracks=5000)


@attack()
def mp3_of_changing_channels(_: Kit) -> bytes:
    """A hundred seconds, mono and stereo by turns: whoever mixes begins anew with each frame."""
    return (mp3_frame(3, 1, 0) + mp3_frame(3, 1, 3)) * 2000


@attack()
def mp3_of_changing_rates(_: Kit) -> bytes:
    return (
        b"".join(mp3_frame(version, rate, mode) for version in (3, 2, 0) for rate in (0, 1, 2) for mode in (0, 3)) * 200
    )


def _frames(data: bytes, magic: bytes) -> list[bytes]:
    """The frames of a file that hold nothing else that looks like their beginning."""
    return [magic + rest for rest in data.split(magic)[1:]]


@attack("undecodable", announced_ms=36_000_000)
def a_quarter_of_an_hour_of_changing_channels(_: Kit) -> bytes:
    """Twenty thousand times."""
    return (mp3_frame(3, 1, 0) + mp3_frame(3, 1, 3)) * 18_500


@attack("undecodable", announced_ms=36_000_000)
def mp3_of_false_headers(_: Kit) -> bytes:
    """Two frames, and two hundred that are a byte too long: what is refused late is not tried again."""
    return (frame() * 2 + b"\xff\xfb\x14\xc0\xff" * 200) * 20_000


@attack("undecodable", "")
def objects_in_mp3(kit: Kit) -> bytes:
    """A million, of eight bytes."""
    return id3_of(b"GEOB\0\0\0\x08\0\0\0a\0b\0c\0x" * 1_000_000) + kit.sound(MP3, "-id3v2_version", "0")


@attack("undecodable", announced_ms=36_000_000)
def adts_of_changing_channels(kit: Kit) -> bytes:
    """The same in half a megabyte."""
    kinds = [("mono", b"\xff\xf1\x4c\x40"), ("stereo", b"\xff\xf1\x4c\x80")]
    turns = [
        _frames(kit.ffmpeg("t.aac", "-f", "lavfi", "-i", f"anullsrc=r=48000:cl={layout}:d=1", "-c:a", "aac"), magic)[5]
        for layout, magic in kinds
    ]
    return b"".join(turns) * 20_000


@attack("undecodable", announced_ms=36_000_000)
def flac_of_changing_channels(kit: Kit) -> bytes:
    """Half an hour of 12 ms each, in two megabytes."""
    form = ("-c:a", "flac", "-frame_size", "576")
    mono, stereo = (
        kit.ffmpeg("t.flac", "-f", "lavfi", "-i", f"anullsrc=r=48000:cl={layout}:d=2", *form)
        for layout in ("mono", "stereo")
    )
    turns = zip(_frames(mono, b"\xff\xf8"), _frames(stereo, b"\xff\xf8"), strict=True)
    return mono[: mono.index(b"\xff\xf8")] + b"".join(one + other for one, other in turns) * 450


@attack("too_long", announced_ms=36_000_000)
def silence_of_many_samples(kit: Kit) -> bytes:
    """A quarter of an hour at 192 kHz in eight channels, in 140 kB."""
    silence = ("-f", "lavfi", "-i", "anullsrc=r=192000:cl=7.1:d=890", "-c:a", "flac", "-sample_fmt", "s32")
    return kit.ffmpeg("s.flac", *silence, "-strict", "-2", "-frame_size", "65535", "-compression_level", "0")


@attack("undecodable", announced_ms=36_000_000)
def opus_of_streams_that_nobody_hears(_: Kit) -> bytes:
    """One channel, and thirty streams to decode for it."""
    head = b"OpusHead" + struct.pack("<BBHIhBBBB", 1, 1, 312, SECOND, 0, 255, 30, 0, 0)
    packet = (bytes([31 << 3 | 3, 6, 2]) + bytes(12)) * 29 + bytes([31 << 3 | 3, 6]) + bytes(12)
    pages = b"".join(page([packet], 2 + number, -1) for number in range(7400))
    return page([head], 0, 0, flags=2) + page([b"OpusTags" + bytes(8)], 1, 0) + pages


@attack("", announced_ms=36_000_000)
def opus_of_padding(_: Kit) -> bytes:
    """Sixty megabytes of nothing but its length."""
    packet = bytes([31 << 3 | 3, 0x41]) + b"\xff" * 65_000
    pages = b"".join(page([packet], 2 + number, -1) for number in range(920))
    return page([HEAD], 0, 0, flags=2) + page([b"OpusTags" + bytes(8)], 1, 0) + pages


@attack("too_long", announced_ms=36_000_000)
def opus_of_eight_channels(_: Kit) -> bytes:
    """A quarter of an hour in 300 kB."""
    head = b"OpusHead" + struct.pack("<BBHIhBBB8B", 1, 8, 312, SECOND, 0, 255, 8, 0, *range(8))
    packet = bytes([31 << 3 | 3, 6, 0]) * 7 + bytes([31 << 3 | 3, 6])
    pages = b"".join(page([packet] * 10, 2 + number, -1) for number in range(740))
    return page([head], 0, 0, flags=2) + page([b"OpusTags" + bytes(8)], 1, 0) + pages


@attack("undecodable")
def wav_of_24_channels(_: Kit) -> bytes:
    """In a layout with a name: 22.2."""
    form = struct.pack("<HHIIHHHHI", 0xFFFE, 24, SECOND, 48 * SECOND, 48, 16, 22, 16, 0x2FF7F)
    form += b"\1\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    parts = b"WAVEfmt " + struct.pack("<I", len(form)) + form + struct.pack("<4sI", b"data", 48 * SECOND)
    return b"RIFF" + struct.pack("<I", len(parts) + 48 * SECOND) + parts + bytes(48 * SECOND)


@attack("undecodable")
def rf64_of_exabytes(_: Kit) -> bytes:
    return riff((b"ds64", struct.pack("<QQQI", 1 << 63, 1 << 63, 1 << 63, 0)), form=b"RF64")


@attack("too_long", "undecodable", announced_ms=36_000_000)
def wav_at_1_hz(_: Kit) -> bytes:
    return wav(8, 1, 1, bytes(1 << 20))


@attack("undecodable")
def wav_at_4_ghz(_: Kit) -> bytes:
    return wav(8, 1, 0xFFFFFFFF, bytes(1 << 20))


@attack("undecodable", "")
def wav_at_2_ghz(_: Kit) -> bytes:
    return wav(8, 1, 0x7FFFFFFF, bytes(1 << 20))


@attack("undecodable")
def wav_at_0_hz(_: Kit) -> bytes:
    return wav(8, 1, 0, bytes(1 << 20))


@attack("undecodable", "")
def wav_of_many_channels(_: Kit) -> bytes:
    return wav(8, 65_535, 8000, bytes(1 << 22))


@attack("undecodable", "too_long", "")
def wav_without_block_size(_: Kit) -> bytes:
    return wav(16, 1, 8000, bytes(1 << 20), align=0)


@attack("truncated")
def wav_of_a_million_chunks(_: Kit) -> bytes:
    return b"RIFF\xff\xff\xff\xffWAVE" + b"junk\0\0\0\0" * 1_000_000


@attack("undecodable", announced_ms=36_000_000)
def flac_at_655_khz(kit: Kit) -> bytes:
    """As fine as FLAC can be, eight channels of it."""
    silence = ("-f", "lavfi", "-i", "anullsrc=r=655350:cl=7.1", "-t", "60", "-c:a", "flac", "-sample_fmt", "s32")
    return kit.ffmpeg("fine.flac", *silence, "-strict", "-2", "-frame_size", "4608")


# ---- boxes


@attack("undecodable")
def boxes_in_boxes(_: Kit) -> bytes:
    """Ten thousand, each within the one before."""
    nested = b""
    for _level in range(10_000):
        nested = box(b"trak", nested)
    return box(b"ftyp", b"M4A \0\0\0\0") + box(b"moov", nested)


@attack("undecodable")
def containers_in_containers(_: Kit) -> bytes:
    """The same with kinds that players look into."""
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
    """Each for one sample."""
    times = struct.pack(">I", 1_000_000) + struct.pack(">II", 1, 1) * 1_000_000
    one = struct.pack(">IIII", 1, 1, 1_000_000, 1)
    return bytes(Movie(stts=times, stsz=struct.pack(">II", 2, 1_000_000), stsc=one))


@attack("undecodable")
def movie_in_zlib(_: Kit) -> bytes:
    """400 MB of it."""
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
    """For each a player copies what there is since the last sample that can be begun with: the first."""
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
    """The same, no more often than allowed."""
    return repeated(200)


def repeated(times: int) -> bytes:
    edits = struct.pack(">I", times) + struct.pack(">IiI", 1000, 0, 1 << 16) * times
    return bytes(Movie(edits=box(b"edts", full(b"elst", edits))))


def fragmented(*parts: bytes) -> bytes:
    """A movie without samples of its own, and what stands behind it."""
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
    """Fifty, each as long as it may be."""
    index = struct.pack(">IIIIHH", 1, 1000, 0, 0, 0, 65_535) + struct.pack(">III", 10, 10, 0) * 65_535
    return fragmented(full(b"sidx", index) * 50, fragment(10))


# ---- other containers


@attack("")
def tags_in_tags(_: Kit) -> bytes:
    """Ten thousand deep."""
    nested = b""
    for _level in range(10_000):
        nested = element("67C8", nested)
    return matroska(element("1254C367", element("7373", nested)), cluster(0, LONG))


@attack("undecodable")
def stripped_headers(_: Kit) -> bytes:
    """Each block of one byte is to have 200 kB in front."""
    strip = element("6D80", element("6240", element("5034", element("4254", b"\3"), element("4255", LONG * 200_000))))
    return matroska(*(cluster(number * 120, LONG) for number in range(3000)), more=strip)


@attack("undecodable", "")
def blocks_in_bzip2(_: Kit) -> bytes:
    """100 MB in each."""
    packed = element("6D80", element("6240", element("5034", element("4254", b"\1"))))
    block = bz2.compress(bytes(100_000_000))
    return matroska(*(cluster(number, block) for number in range(5)), codec=b"A_PCM/INT/LIT", more=packed)


@attack("undecodable", "")
def matroska_of_unknown_sizes(kit: Kit) -> bytes:
    """Clusters that never end, within each other."""
    sound = kit.ffmpeg("m.webm", "-f", "lavfi", "-i", "sine=d=1", "-c:a", "libopus", "-f", "webm")
    return sound + b"\x1f\x43\xb6\x75\x01\xff\xff\xff\xff\xff\xff\xff" * 100_000


@attack("undecodable")
def matroska_of_deep_levels(_: Kit) -> bytes:
    return b"\x1aE\xdf\xa3\x80" + b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" * 100_000


@attack("undecodable")
def matroska_of_a_huge_element(_: Kit) -> bytes:
    """A codec's private data of exabytes."""
    segment = b"\x1aE\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff"
    return segment + b"\x16\x54\xae\x6b\x01\xff\xff\xff\xff\xff\xff\xfe"


@attack("not_audio")
def mp3_behind_256_mb_of_tag(_: Kit) -> bytes:
    return b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + frame() * 1000


@attack("not_audio")
def mp3_of_free_format(_: Kit) -> bytes:
    return b"\xff\xfb\x04\xc0" + bytes(1 << 20)


@attack("undecodable", "too_long", "", announced_ms=36_000_000)
def mp3_of_headers_only(_: Kit) -> bytes:
    """Each frame stands where the one before says, and holds nothing but more headers."""
    return b"\xff\xfb\xe4\xc0" * 2_000_000


@attack(announced_ms=36_000_000)
def mp3_that_announces_years(kit: Kit) -> bytes:
    sound = bytearray(kit.sound(MP3))
    at = sound.index(b"Info")
    sound[at + 8 : at + 12] = b"\xff\xff\xff\xff"
    return bytes(sound)


@attack("undecodable", "too_long", "")
def adts_of_empty_frames(_: Kit) -> bytes:
    return adts(b"") * 300_000


@attack()
def adts_before_nothing_but_ones(kit: Kit) -> bytes:
    """Each byte might begin a frame."""
    return kit.sound(ADTS) + b"\xff" * 60_000_000


@attack("undecodable")
def adts_of_ones(_: Kit) -> bytes:
    return adts(b"") + adts(b"\xff" * 400) * 100_000


@attack("undecodable")
def adts_of_random_channels(_: Kit) -> bytes:
    """Each frame says anew how many, and where they stand."""
    chance = random.Random(7)
    return b"".join(adts(b"\xa0" + chance.randbytes(60), channels=0) for _ in range(40_000))


@attack("undecodable")
def caf_of_a_packet_table(_: Kit) -> bytes:
    """Eight million packets, listed."""
    table = struct.pack(">qqii", 8_000_000, 8_000_000 * 1024, 0, 0) + b"\1" * 8_000_000
    return caf(b"aac ", 48_000.0, (b"pakt", table), (b"data", bytes(8_000_004)), packet=0, frames=1024)


@attack("undecodable")
def caf_at_no_number_of_hz(_: Kit) -> bytes:
    return caf(b"lpcm", float("nan"), (b"data", bytes(1 << 16)))


@attack("undecodable", "truncated", "")
def caf_of_negative_sizes(_: Kit) -> bytes:
    form = b"desc" + struct.pack(">qd4sIIIII", 32, 48_000.0, b"lpcm", 0, 2, 1, 1, 16)
    return b"caff\0\1\0\0" + form + b"data" + struct.pack(">qI", -(1 << 63), 0) + b"free" + struct.pack(">q", -2)


@attack("undecodable", "too_long", announced_ms=36_000_000)
def caf_of_a_billion_packets(_: Kit) -> bytes:
    form = b"desc" + struct.pack(">qd4sIIIII", 32, 1e-300, b"lpcm", 0, 0, 0, 0, 0)
    table = b"pakt" + struct.pack(">qqqii", 24, 1 << 62, 1 << 62, 0, 0)
    return b"caff\0\1\0\0" + form + table + b"data" + struct.pack(">qI", -1, 0) + bytes(1 << 16)


FORMS = {"wav": WAV, "m4a": M4A, "mp3": MP3, "flac": FLAC}
CUTS = (1, 3, 4, 8, 12, 27, 28, 44, 100, 1000, -1000, -100, -2, -1)
