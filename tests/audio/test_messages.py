"""Messages of several speakers in one track: each is evened by its own sound alone."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bot.audio.decode import decode_pieces
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.grid import Form
from bot.audio.layout import layout, piece_keys, piece_of
from bot.audio.peaks import Pcm
from bot.audio.plan import Piece, Silence, Sound, length
from bot.audio.render import Rendering
from bot.recording.kinds import lay_out
from bot.recording.ledger import Entry, Ledger, fingerprint
from bot.worker.stored_track import StoredTrack, appended_cuts
from storage.records import SAMPLE_RATE, BlobKey, ChunkState, Container, Cut, RecordingId, Samples, Timing, Track
from tests.audio.sounds import WAV, Studio, as_key, captured, local
from tests.audio.voices import TARGET, at, in_room, voice
from tests.factories import a_recording
from tests.recording.world import stored

FORM = Form(1, 64, TARGET)
PAUSE = Silence(Samples(SAMPLE_RATE), pause=True)


def spoken(studio: Studio, *messages: tuple[int, float, float]) -> list[Piece]:
    """Record messages, each of a voice, of a loudness, of a length in seconds; with a pause between two."""
    pieces: list[Piece] = []
    for number, (who, lufs, seconds) in enumerate(messages):
        first = number * SAMPLE_RATE // 2
        part = in_room(lufs - 35, at(lufs, voice(who)[first : first + int(seconds * SAMPLE_RATE)]))
        path = studio.record(f"{number}.wav", part, WAV)
        pieces += [PAUSE] if number else []
        pieces.append(Sound(as_key(path), Container.WAV, False, Samples(len(part))))
    return pieces


async def rendered(
    pieces: Sequence[Piece],
    studio: Studio,
    ffmpeg: Ffmpeg,
    *,
    decided: Sequence[Cut] = (),
    start_db: float | None = None,
) -> tuple[Path, list[Cut]]:
    """Return the MP3 of the pieces, and their cuts."""
    known = {cut.key: cut for cut in decided}
    cuts = [known.get(cut.key, cut) for cut in layout(pieces, FORM)]
    rendering = Rendering(pieces, cuts, FORM, start_db=start_db, local=local, ffmpeg=ffmpeg, workdir=studio.folder)
    out = studio.folder / "out.mp3"
    await rendering.make(0, None, out)
    return out, rendering.cuts


def integrated(studio: Studio, sound: Pcm) -> float:
    """Return the loudness that ffmpeg's own meter finds."""
    source = ("-f", "f32le", "-ar", str(SAMPLE_RATE), "-ac", "1", "-i", "pipe:")
    command = [studio.exe, *source, "-af", "ebur128=dualmono=true", "-f", "null", "-"]
    said = subprocess.run(command, input=sound.tobytes(), capture_output=True, check=True).stderr.decode()
    found = re.search(r"I:\s+(-?[\d.]+)", said.rpartition("Summary:")[2])
    assert found is not None
    return float(found[1])


async def test_a_whisper_is_as_loud_as_a_shout(studio: Studio, ffmpeg: Ffmpeg) -> None:
    """Messages more than 20 dB apart, long and short, are each within 2 LU of the target, from their first second on;
    the gain changes in the pause between them alone."""
    messages = ((1, -15.0, 4), (2, -38.0, 5), (1, -15.0, 1), (2, -38.0, 1.2), (1, -12.0, 3))
    pieces = spoken(studio, *messages)
    out, cuts = await rendered(pieces, studio, ffmpeg)
    heard, begin = studio.hear(out), 0
    for piece, cut in zip(pieces, cuts, strict=True):
        assert cut.gains is not None
        gains = np.frombuffer(cut.gains, "<i2") / 100
        if isinstance(piece, Sound):
            assert integrated(studio, heard[begin : begin + piece.samples]) == pytest.approx(TARGET, abs=2)
            assert gains.max() - gains.min() < 2
        begin += piece.samples


async def test_a_message_is_evened_alone(studio: Studio, ffmpeg: Ffmpeg) -> None:
    """A message that comes last, and stands in the middle, has the gain that it would have had in its turn, and
    changes no other; nor does the level of the room's last episodes change the second."""
    first, second, third = ((1, -15.0, 2), (2, -38.0, 2), (1, -20.0, 2))
    pieces = spoken(studio, first, second, third)
    _, in_turn = await rendered(pieces, studio, ffmpeg)
    _, without = await rendered([*pieces[:2], pieces[4]], studio, ffmpeg, start_db=12)
    _, healed = await rendered(pieces, studio, ffmpeg, decided=without)
    assert [cut.gains for cut in healed[1:]] == [cut.gains for cut in in_turn[1:]]
    assert healed[0].gains == without[0].gains


def test_a_pause_is_no_gap() -> None:
    """A pause and a gap of one length are two pieces with keys of their own, and are read back from their cuts."""
    pieces: list[Piece] = [PAUSE, Silence(PAUSE.samples)]
    cuts = layout(pieces, FORM)
    assert [cut.key for cut in cuts] == ["pause 48000", "silence 48000"]
    assert [piece_of(cut) for cut in cuts] == pieces


async def test_a_broadcast_between_messages_goes_on_as_one_stream(studio: Studio, ffmpeg: Ffmpeg) -> None:
    """The slices of one Ogg stream that stand between two messages sound as they do alone, whatever piece is decoded
    first, and are laid out the same piece by piece."""
    message = spoken(studio, (1, -20.0, 1.1))
    chunks = captured("plain")[:3]
    ledger = lay_out(a_recording(), [stored(str(chunk.path), chunk.sequence, chunk.facts) for chunk in chunks])
    slices = [
        Sound(as_key(chunk.path), entry.container, entry.continues, entry.samples)
        for chunk, entry in zip(chunks, ledger.entries, strict=True)
    ]
    assert [piece.continues for piece in slices] == [False, True, True]
    pieces: list[Piece] = [*message, PAUSE, *slices, PAUSE, *message]
    alone = np.concatenate([block async for block in decode_pieces(slices, local, ffmpeg, studio.folder)])
    begin = length(pieces[:2])
    for first in (0, 3, 4):
        stream = decode_pieces(pieces, local, ffmpeg, studio.folder, first=first)
        heard = np.concatenate([block async for block in stream])
        skipped = length(pieces[:first])
        part = slice(max(begin, skipped), begin + len(alone))
        assert (heard[part.start - skipped : part.stop - skipped] == alone[part.start - begin :]).all()
    cuts: list[Cut] = []
    for count in range(1, len(pieces) + 1):
        there = StoredTrack(Track(RecordingId(1), 1, 64, TARGET, None, 0), tuple(cuts), tuple(pieces[: count - 1]))
        cuts += appended_cuts(there, pieces[:count]) or []
    assert cuts == layout(pieces, FORM)


def test_recordings_of_before_are_the_same_sound() -> None:
    """Keys and fingerprint of a broadcast are those of the versions before there were pauses, so that an upgrade makes
    no episode again."""
    a, b, c, d = (BlobKey(letter * 64) for letter in "abcd")
    pieces: list[Piece] = [
        Sound(a, Container.OGG_OPUS, False, Samples(96_000)),
        Sound(b, Container.OGG_OPUS, True, Samples(9_600)),
        Sound(c, Container.OGG_OPUS, True, Samples(96_000)),
        Silence(Samples(48_000)),
        Sound(d, Container.MP4_AAC, False, Samples(48_000)),
    ]
    assert piece_keys(pieces, FORM) == [
        "c0e8bd3abe59e88f09ae126d25c4f17c5ed049fb4770345156f9a73e830cb3cb",
        "bf750f8c48e76ad4e44303e1aaef6a023dbe21f6994aa4ad555ebdaaf5c0b02e",
        "374a0328aa498fedd383060b4dc948071737927b359230f18bcaa530a3e57b5e",
        "silence 48000",
        "dab315a8f5c9caaa54db5437d195f7558fb837304e3e6a4ada8ac4f4f99e8f72",
    ]
    entries = [
        Entry(
            chunk_id=None,
            state=ChunkState.MISSING if isinstance(piece, Silence) else ChunkState.STORED,
            position=Samples(0),
            samples=piece.samples,
            timing=Timing.EXACT,
            continues=isinstance(piece, Sound) and piece.continues,
            silence=isinstance(piece, Silence),
            blob=piece.blob if isinstance(piece, Sound) else None,
        )
        for piece in [*pieces, pieces[3], pieces[3], pieces[0]]
    ]
    ledger = Ledger(tuple(entries), (), Samples(0), proved=False, complete=False, certain=False, waiting=False)
    assert fingerprint(ledger) == "84048c65901e3ca61dadcb4cf42d743d81112a0d795973d816f235a15be45f59"
