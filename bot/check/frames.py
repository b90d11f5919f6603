"""The length of an MP3 file, counted frame by frame as its bytes come. Pure."""

from dataclasses import dataclass

from bot.audio.mp3 import read_header

_ID3_HEAD = 10
_FIRST_HEAD = 40  # bytes of the first frame that tell whether it only describes the file
_MOST_STRAY = 64 * 1024
"""Bytes between frames after which a file is no MP3."""


@dataclass(slots=True)
class FrameCount:
    """The frames of a file so far. What the file says of itself is not believed."""

    seconds: float = 0.0
    frames: int = 0
    first_at: int = 0  # bytes before the first frame
    stray: int = 0  # bytes that belong to no frame and no tag
    size: int = 0  # bytes of all frames
    constant: bool = True  # all frames have the same rate of bytes
    _rest: bytes = b""
    _skip: int = 0
    _taken: int = 0
    _described: bool = False
    _rate: float = 0.0  # bytes a second of the last frame

    @property
    def rate(self) -> float:
        """The bytes a second of all frames so far."""
        return self.size / self.seconds if self.seconds else 0.0

    @property
    def is_mp3(self) -> bool:
        return self.frames > 0 and self.stray < _MOST_STRAY

    def take(self, piece: bytes) -> None:
        """Count the frames that begin in the next bytes of the file."""
        data = self._rest + piece
        at = min(self._skip, len(data))
        self._skip -= at
        while at + (_ID3_HEAD if self.frames else _FIRST_HEAD) <= len(data) and self.stray < _MOST_STRAY:
            size = self._frame(data, at) or self._tag(data, at) or self._stray(data, at)
            self._skip = max(0, at + size - len(data))
            at = min(at + size, len(data))
        self._taken += at
        self._rest = data[at:]

    def _frame(self, data: bytes, at: int) -> int:
        """Count the frame that begins here; return its bytes, 0 for none."""
        header = read_header(data[at : at + 4])
        if header is None:
            return 0
        beginning = data[at + 4 + header.side_info : at + 8 + header.side_info]
        if not self.frames and not self._described and beginning in (b"Info", b"Xing"):
            self._described = True  # a frame that describes the file holds no sound
            return header.size
        rate = header.size * header.sample_rate / header.samples
        if not self.frames:
            self.first_at = self._taken + at
        elif abs(rate - self._rate) > header.sample_rate / header.samples:
            self.constant = False
        self._rate = rate
        self.size += header.size
        self.frames += 1
        self.seconds += header.samples / header.sample_rate
        return header.size

    def _tag(self, data: bytes, at: int) -> int:
        """Return the bytes of the ID3 tag that begins here, 0 for none."""
        if data.startswith(b"ID3", at):
            size = 0
            for byte in data[at + 6 : at + _ID3_HEAD]:
                size = size << 7 | byte & 0x7F
            return _ID3_HEAD + size + _ID3_HEAD * bool(data[at + 5] & 0x10)
        return 128 if data.startswith(b"TAG", at) else 0

    def _stray(self, data: bytes, at: int) -> int:
        """Pass bytes up to the next that may begin a frame."""
        following = data.find(b"\xff", at + 1)
        size = (following if following >= 0 else len(data)) - at
        self.stray += size
        return size
