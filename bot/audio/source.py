"""The rate and the channels of a file, read from the lines that ffmpeg writes when it opens one. Pure."""

import re
from dataclasses import dataclass

# Each part is bounded: the output includes text of the file, on which matching must not take quadratic time.
_STREAM = re.compile(
    rb"^[ \t]{0,9}Stream #0:\d{1,9}[^\n]{0,200}: Audio: ([^\n]{0,200}?), (\d{1,10}) Hz, ([^,\n]{1,80})", re.MULTILINE
)
_LAYOUTS = {
    b"mono": 1,
    b"stereo": 2,
    b"binaural": 2,
    b"downmix": 2,
    b"quad": 4,
    b"hexagonal": 6,
    b"octagonal": 8,
    b"cube": 8,
}


@dataclass(frozen=True, slots=True)
class Source:
    """The sound of a file as its decoder gives it; rate and channels are 0 if ffmpeg names none."""

    rate: int  # Hz
    channels: int
    maybe_mono: bool = False  # HE-AAC doesn't always state whether one channel is spread to two: then ffmpeg gives two


def read_source(lines: bytes) -> Source:
    """Return the rate and channels of a file's first audio stream from ffmpeg's standard error."""
    streams = _STREAM.findall(lines)
    if not streams:
        return Source(0, 0)
    # Text of the file may imitate ffmpeg's lines. The last line describes the output, where no such text occurs.
    codec, (_, rate, layout) = streams[0][0], streams[-1]
    channels = _channels(layout.strip())
    return Source(int(rate), channels, maybe_mono=b"HE-AAC" in codec and channels == 2)


def _channels(layout: bytes) -> int:
    """Return the number of channels of a layout, by its name: "stereo", "5.1(side)", "3 channels (FL+FR+LFE)"; 0 if the
    name is not known."""
    name = re.split(rb"[ (]", layout)[0]
    if re.fullmatch(rb"\d{1,3}(\.\d{1,3}){1,2}", name):
        return sum(map(int, name.split(b".")))
    return int(name) if re.match(rb"\d{1,5} channels", layout) else _LAYOUTS.get(name, 0)
