"""The layout of a track: one cut for each piece, with a key that two pieces share only if they sound the same. Pure."""

import hashlib
from collections.abc import Sequence

from bot.audio.grid import Form
from bot.audio.plan import DECODER_PRE_ROLL, Mix, Piece, Silence, Sound
from storage.records import Container, Cut

_PAUSE = "pause "


def piece_keys(pieces: Sequence[Piece], form: Form) -> list[str]:
    """Return a key for each piece: pieces with the same key decode to the same samples. Blobs are named by their
    content."""
    keys: list[str] = []
    before: list[Sound] = []  # earlier slices of the same Ogg run that the decoder still remembers
    for piece in pieces:
        if isinstance(piece, Silence):
            keys.append(f"{_PAUSE if piece.pause else 'silence '}{piece.samples}")
            before = []
            continue
        if isinstance(piece, Mix):
            keys.append(_mix_key(piece, form))
            before = []
            continue
        before = before if piece.continues else []
        names = [f"{piece.container} {piece.samples} {form.channels}", *(sound.blob for sound in [piece, *before])]
        keys.append(hashlib.sha256(" ".join(names).encode()).hexdigest())
        before = [piece, *before]
        while len(before) > 1 and sum(sound.samples for sound in before[:-1]) >= DECODER_PRE_ROLL:
            before.pop()
    return keys


def _mix_key(mix: Mix, form: Form) -> str:
    """Return the key of a window: its slices and their places, each with the stem that gets a gain of its own."""
    parts = (f"{part.stem} {part.blob} {part.at} {part.samples} {part.before} {part.lead}" for part in mix.parts)
    return hashlib.sha256("\n".join([f"mix {mix.samples} {form.channels}", *parts]).encode()).hexdigest()


def layout(pieces: Sequence[Piece], form: Form) -> list[Cut]:
    """Return the cuts of these pieces, with no gain decided."""
    keyed = zip(piece_keys(pieces, form), pieces, strict=True)
    return [_cut(ordinal, key, piece) for ordinal, (key, piece) in enumerate(keyed)]


def _cut(ordinal: int, key: str, piece: Piece) -> Cut:
    match piece:
        case Sound():
            return Cut(ordinal, key, piece.samples, piece.blob, piece.container, piece.continues)
        case Mix():
            return Cut(ordinal, key, piece.samples, None, Container.OGG_OPUS, continues=False, parts=piece.parts)
        case Silence():
            return Cut(ordinal, key, piece.samples, None, Container.UNKNOWN, continues=False)


def piece_of(cut: Cut) -> Piece:
    """Return the piece that a cut was made from."""
    if cut.parts:
        return Mix(cut.parts, cut.samples)
    if cut.blob is None:
        return Silence(cut.samples, pause=cut.key.startswith(_PAUSE))
    return Sound(cut.blob, cut.container, cut.continues, cut.samples)
