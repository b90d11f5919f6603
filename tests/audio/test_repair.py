"""Files that are damaged or state wrong lengths: all sound but the damage is saved."""

import io
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bot.audio.containers import find_repair
from bot.audio.decode import decode_pieces
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.inspect import inspect_chunk
from bot.audio.plan import Mismatch, Sound
from bot.audio.repair import AS_IS, Pause
from bot.audio.sniff import find
from bot.errors import GiveUp
from storage.records import ChunkFacts, Container, Samples, Timing
from tests.audio.hostile.matroska import cluster, element, matroska
from tests.audio.hostile.ogg import LONG
from tests.audio.oddities import FORMS, NOISE, NUMBERS, damaged, surrounded
from tests.audio.sounds import ADTS, FLAC, MP3, WAV, WEBM, Pcm, Studio, as_key, lag, local, signal
from tests.lab import DATA

LENGTH = 192_000  # samples
SOUND = signal(LENGTH)
NEAR = 5760  # 120 ms
PRIMING = 2048  # samples that may be heard of an encoder's beginning
PLACES = (20_000, 80_000, 120_000, 170_000)
CASES = DATA / "cases"


_recorded: dict[str, bytes] = {}


def recorded(studio: Studio, form: str) -> bytes:
    """Return SOUND in this form, which is encoded once."""
    if form not in _recorded:
        _recorded[form] = studio.record("a", SOUND, FORMS[form]).read_bytes()
    return _recorded[form]


@dataclass(frozen=True)
class Heard:
    facts: ChunkFacts
    sound: Pcm
    wrong: list[Mismatch]


async def hear(data: bytes, ffmpeg: Ffmpeg, folder: Path) -> Heard:
    """Inspect a chunk, then decode it."""
    path = folder / "chunk"
    path.write_bytes(data)
    facts = await inspect_chunk(path, ffmpeg, max_seconds=3600)
    wrong: list[Mismatch] = []
    piece = Sound(as_key(path), facts.container, continues=False, samples=facts.samples)
    blocks = [block async for block in decode_pieces([piece], local, ffmpeg, folder, report=wrong.append)]
    return Heard(facts, np.concatenate(blocks)[:, 0] if blocks else np.zeros(0, np.float32), wrong)


def away(heard: Heard, most: int = NEAR, places: tuple[int, ...] = PLACES) -> list[int]:
    """Return by how much each place is late, where it is not close."""
    lags = [lag(SOUND, heard.sound, place, most=9000) for place in places]
    return [] if all(abs(each) <= most for each in lags) and abs(heard.facts.samples - LENGTH) <= NEAR else lags


def assert_one_hole(heard: Heard, samples: int) -> None:
    """Check that there is one silence, and that nothing else is missing."""
    (hole,) = heard.facts.holes
    assert abs(hole.samples - samples) <= NEAR
    assert np.abs(heard.sound[hole.at + PRIMING : hole.at + hole.samples - PRIMING]).max() < 0.01
    assert heard.wrong == []


@pytest.mark.parametrize("form", FORMS)
async def test_what_stands_around_a_file(form: str, studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A byte, a line end, a tag or noise in front of a file or behind it costs no sound, moves none, and is not
    reported."""
    data = recorded(studio, form)
    whole = await hear(data, ffmpeg, tmp_path)
    for name, odd in surrounded(data):
        heard = await hear(odd, ffmpeg, tmp_path)
        assert (heard.facts, heard.wrong) == (whole.facts, []), name
        assert np.array_equal(heard.sound, whole.sound), name


@pytest.mark.parametrize("form", NUMBERS)
async def test_numbers_that_are_wrong(form: str, studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Sound is heard in its place whatever lengths and sizes the header states."""
    data = recorded(studio, form)
    for name, odd in NUMBERS[form](data):
        assert away(await hear(odd, ffmpeg, tmp_path), PRIMING) == [], name


@pytest.mark.parametrize("form", ["mp3", "mp3_without_tag", "adts", "webm", "live_webm", "matroska", "flac"])
async def test_damage_in_the_middle(form: str, studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Around frames that are damaged, lost or separated by other bytes the sound stays; the loss is a hole or reported
    at joining."""
    data = recorded(studio, form)
    for name, odd in damaged(data):
        heard = await hear(odd, ffmpeg, tmp_path)
        assert away(heard) == [], name
        holes = sum(hole.samples for hole in heard.facts.holes)
        assert holes + sum(abs(each.decoded - each.expected) for each in heard.wrong) <= 2 * NEAR, name
        assert all(LENGTH // 3 < hole.at < LENGTH * 2 // 3 for hole in heard.facts.holes), name


@pytest.mark.parametrize("form", ["m4a", "no_edit_list", "fragments"])
async def test_damage_in_the_middle_of_mp4(form: str, studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Behind missing or extra bytes an MP4's sound can't be found; the sound before stays, and the loss is reported."""
    data = recorded(studio, form)
    for name, odd in damaged(data):
        heard = await hear(odd, ffmpeg, tmp_path)
        assert away(heard, PRIMING, PLACES[:2]) == [], name
        lost = heard.facts.samples - len(np.flatnonzero(heard.sound))
        assert lost < NEAR or heard.wrong or heard.facts.holes, name


@pytest.mark.parametrize("form", [MP3, FORMS["mp3_without_tag"], ADTS])
@pytest.mark.parametrize("cut", [1, 100, 1000])
async def test_cut_in_a_frame(form: tuple[str, ...], cut: int, studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A file that begins or ends inside a frame loses that frame only, also with zeros or noise in front."""
    data = studio.record("a", SOUND, (*form, "-id3v2_version", "0") if form == MP3 else form).read_bytes()
    for odd in (data[cut:], data[:-cut], bytes(5000) + data[cut:], NOISE + data[cut:-cut]):
        assert away(await hear(odd, ffmpeg, tmp_path)) == []


async def test_frames_that_were_overwritten_keep_their_time(studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A second of zeros in an MP3 of a constant rate is a second of silence, and a hole."""
    data = bytearray(recorded(studio, "mp3_without_tag"))
    data[25_000:41_000] = bytes(16_000)
    heard = await hear(bytes(data), ffmpeg, tmp_path)
    assert away(heard, PRIMING, (20_000, 120_000, 170_000)) == []
    assert_one_hole(heard, 48_000)


@pytest.mark.parametrize("form", FORMS)
async def test_honest_files_are_decoded_as_they_are(form: str, studio: Studio) -> None:
    """Nothing of a healthy file is copied, left out or added."""
    with studio.record("a", SOUND, FORMS[form]).open("rb") as file:
        container, start = find(file)
        repair = find_repair(file, container)
    assert (start, repair.parts, repair.pauses, repair.holes) == (0, (), (), ())


HEADERS = {
    "m4a": FORMS["m4a"],
    "mov": FORMS["mov"],
    "fragments": FORMS["fragments"],
    "mp3": MP3,
    "wav": WAV,
    "rf64": FORMS["rf64"],
    "caf": FORMS["caf"],
    "flac": FLAC,
    "webm": WEBM,
    "matroska": FORMS["matroska"],
}


@pytest.mark.parametrize("form", HEADERS)
async def test_a_header_without_samples(form: str, studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """The file of a recorder that was stopped at once is a chunk without length, and no damage."""
    data = studio.record("a", SOUND[:0], HEADERS[form], "-af", "atrim=end=0").read_bytes()
    for tail in (b"", b"\0"):
        heard = await hear(data + tail if form not in ("mp3", "flac", "wav", "rf64", "caf") else data, ffmpeg, tmp_path)
        assert (heard.facts.samples, heard.wrong) == (0, [])


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF])
async def test_a_wav_that_ends_before_its_sound(size: int, studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A streamed WAV with nothing but its header is empty."""
    data = studio.record("a", SOUND, WAV).read_bytes()
    at = data.index(b"data") + 4
    assert (await hear(data[:at] + struct.pack("<I", size), ffmpeg, tmp_path)).facts.samples == 0


@pytest.mark.parametrize(
    ("form", "left"), [("wav", 0.9), ("rf64", 0.6), ("caf", 0.9), ("m4a", 0.9), ("first_moov", 0.9), ("flac", 0.6)]
)
async def test_bytes_that_are_missing(form: str, left: float, studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A cut upload is still noticed."""
    data = recorded(studio, form)
    with pytest.raises(GiveUp) as caught:
        await hear(data[: int(len(data) * left)], ffmpeg, tmp_path)
    assert caught.value.reason == "truncated"


async def test_a_killed_recorder_of_fragments(studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """All whole fragments are heard, and the missing part of the last one is reported."""
    data = recorded(studio, "fragments")
    fourth = data.rindex(b"mdat", 0, data.rindex(b"moof"))
    heard = await hear(data[: fourth + 4000], ffmpeg, tmp_path)
    assert away(heard, PRIMING, PLACES[:3]) == []
    assert [each.decoded < each.expected for each in heard.wrong] == [True]


@pytest.mark.parametrize(
    ("name", "milliseconds"),
    [
        ("tag_behind.m4a", 6000),
        ("size_44_too_large.wav", 2000),
        ("cut_in_first_frame.mp3", 6000),
        ("clock_hole.webm", 8013),
        ("header_only.m4a", 0),
    ],
)
async def test_cases(name: str, milliseconds: int, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Files of other tools have the length that was counted without our code."""
    heard = await hear((CASES / name).read_bytes(), ffmpeg, tmp_path)
    assert abs(heard.facts.samples / 48 - milliseconds) <= 60
    assert heard.wrong == []


# ---- clocks


def with_hole(data: bytes, begin_ms: int, hole_ms: int) -> bytes:
    """Return a WebM in which all clusters from a time on are later."""
    out, at = bytearray(data), 0
    while (at := data.find(b"\x1f\x43\xb6\x75", at + 1)) >= 0:
        time_at = data.index(b"\xe7", at + 4)
        size = data[time_at + 1] & 0x7F
        time = int.from_bytes(data[time_at + 2 : time_at + 2 + size], "big")
        if time >= begin_ms:
            out[time_at + 2 : time_at + 2 + size] = (time + hole_ms).to_bytes(size, "big")
    return bytes(out)


async def test_a_hole_in_the_clock_is_silence(studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A hole in the clock is silence of its length between the same samples, and nothing is missing."""
    data = recorded(studio, "live_webm")
    whole = await hear(data, ffmpeg, tmp_path)
    heard = await hear(with_hole(data, 2000, 700), ffmpeg, tmp_path)
    assert heard.facts.samples - whole.facts.samples == pytest.approx(700 * 48, abs=100)
    assert (heard.facts.timing, heard.facts.holes, heard.wrong) == (Timing.EXACT, (), [])
    added = heard.facts.samples - LENGTH
    begin = int(np.flatnonzero((heard.sound[:-999] == 0) & (heard.sound[999:] == 0))[0])
    assert np.array_equal(heard.sound[:begin], whole.sound[:begin])
    assert np.array_equal(heard.sound[begin + added :], whole.sound[begin:])


async def test_a_clock_that_is_not_even_adds_nothing(studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Packets that come up to a tenth of a second late have no silence between them."""
    data = recorded(studio, "live_webm")
    heard = await hear(with_hole(data, 2000, 60), ffmpeg, tmp_path)
    assert (heard.facts.samples, heard.wrong) == (LENGTH, [])


async def test_a_clock_that_jumps_by_hours_is_not_believed(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A jump of minutes is silence, one of hours is ignored."""
    heard = await hear(jump(7_200_000), ffmpeg, tmp_path)
    assert (heard.facts.samples, heard.wrong) == (100 * 5760 - 3840, [])
    heard = await hear(jump(300_000), ffmpeg, tmp_path)
    assert (heard.facts.samples, heard.wrong) == (100 * 5760 - 3840 + 300 * 48_000, [])


def jump(by_ms: int) -> bytes:
    """Return twelve seconds of silence with a jump of this length between the halves."""
    times = [120 * number + (by_ms if number >= 50 else 0) for number in range(100)]
    return matroska(*(cluster(time, LONG) for time in times))


async def test_laced_packets_are_counted(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Several packets in one block last as long as their lengths add up to, without a hole."""
    clusters = (cluster(480 * number, b"\x03" + LONG * 4, lacing=4) for number in range(10))
    file = io.BytesIO(matroska(*clusters))
    assert find_repair(file, Container.WEBM).pauses == ()
    late = (cluster(480 * number + 500 * (number > 4), b"\x03" + LONG * 4, lacing=4) for number in range(10))
    pauses = find_repair(io.BytesIO(matroska(*late)), Container.WEBM).pauses
    assert pauses == (Pause(Samples(20 * 5760 - 3840), Samples(24_000)),)


async def test_a_damaged_cluster_costs_itself_alone(studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A cluster of noise is silence of its length, and a hole."""
    data = recorded(studio, "live_webm")
    places = [at for at in range(len(data)) if data.startswith(b"\x1f\x43\xb6\x75", at)]
    begin, end = places[1], places[2]
    noise = np.random.default_rng(8).bytes(end - begin)
    heard = await hear(data[:begin] + noise + data[end:], ffmpeg, tmp_path)
    assert away(heard, PRIMING, (20_000, 120_000, 170_000)) == []
    assert_one_hole(heard, 48_000)


def test_a_matroska_of_other_elements(studio: Studio) -> None:
    """Unknown elements are skipped by their sizes."""
    data = studio.record("a", SOUND, WEBM).read_bytes()
    at = data.index(b"\x1f\x43\xb6\x75")
    file = io.BytesIO(data[:at] + element("4DAA", b"other") + data[at:])
    assert find_repair(file, Container.WEBM) == find_repair(io.BytesIO(data), Container.WEBM)
    assert find_repair(file, Container.OGG_FLAC) == AS_IS


@pytest.mark.parametrize(
    ("form", "name", "claimed"),
    [
        ("mp3", "1 frames", 1152),
        ("flac", f"{2 * LENGTH} samples", 2 * LENGTH),
        ("wav", f"data {LENGTH:#x}", LENGTH // 2),
        ("m4a", f"edit of {LENGTH // 2}", LENGTH // 2),
        ("m4a", f"edit of {2 * LENGTH}", 2 * LENGTH),
        ("webm", "duration 1.0", 48 - 312),
    ],
)
async def test_what_a_file_claims_is_kept(
    form: str, name: str, claimed: int, studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    """The stated length of a file is kept beside the one that it holds."""
    data = recorded(studio, form)
    assert (await hear(data, ffmpeg, tmp_path)).facts.told is None
    facts = (await hear(dict(NUMBERS[form](data))[name], ffmpeg, tmp_path)).facts
    assert abs(facts.samples - LENGTH) <= PRIMING
    assert facts.told == (claimed if claimed > 0 else None)
