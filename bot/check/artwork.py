"""Rules for the artwork (Apple, Podcaster's guide to RSS), read from the picture's own header. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from bot.check.answers import Answer, Failure, Fetched, Trouble
from bot.check.finding import Finding, Problem, judged, tripped
from bot.language import _, spoken_number

LEAST, MOST = 1400, 3000  # pixels on each side
MOST_BYTES = 512 * 1024
FETCHED_BYTES = 8 * 1024 * 1024
ENDINGS = {"image/jpeg": (".jpg", ".jpeg"), "image/png": (".png",)}
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers of JPEG that hold the size (ITU-T T.81, B.2.2)
_COLOURS = 3


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """The beginning of a picture. `colours` are those of a pixel: 1 grey, 3 RGB, 4 CMYK."""

    type: str
    width: int
    height: int
    colours: int


def read_picture(data: bytes) -> PictureHeader | None:
    """Read the header of a JPEG or PNG; None for anything else."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR" and len(data) >= 26:
        width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
        return PictureHeader("image/png", width, height, 1 if data[25] in (0, 4) else _COLOURS)
    return _read_jpeg(data) if data.startswith(b"\xff\xd8") else None


def _read_jpeg(data: bytes) -> PictureHeader | None:
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _FRAMES:
            height, width = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
            return PictureHeader("image/jpeg", width, height, data[at + 9])
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return None


def judge_artwork(address: str | None, fetched: Fetched | None) -> Iterator[Finding]:
    """Judge the picture that a feed names, by the answer to a request for it."""
    problems = list(_problems(address, fetched))
    header = read_picture(fetched.body) if isinstance(fetched, Answer) else None
    fine = f"{header.width} × {header.height}, {header.type}" if header is not None else ""
    yield from judged(_("artwork"), problems, fine)


def _problems(address: str | None, fetched: Fetched | None) -> Iterator[Problem]:
    if address is None or fetched is None:
        yield Problem(_("missing: Apple and Spotify refuse the feed"))
    elif isinstance(fetched, Failure):
        elsewhere = fetched.trouble is Trouble.ELSEWHERE
        yield Problem(_("lies on another server, which was not asked") if elsewhere else _("can't be downloaded"))
    elif fetched.status != 200:
        yield Problem(_("can't be downloaded: the answer is {status}").format(status=fetched.status))
    else:
        yield from _of_picture(address, fetched)


def _of_picture(address: str, answer: Answer) -> Iterator[Problem]:
    header = read_picture(answer.body)
    if header is None:
        yield Problem(_("is neither JPEG nor PNG: Apple refuses it"))
        return
    size = f"{header.width} × {header.height}"
    if header.width != header.height:
        yield Problem(_("is not square ({size}): Apple refuses it").format(size=size))
    elif not LEAST <= header.width <= MOST:
        yield Problem(
            _("has {size} pixels, and Apple takes {least} to {most} on each side").format(
                size=size, least=LEAST, most=MOST
            )
        )
    if header.colours > _COLOURS:
        yield Problem(_("has the colours of print (CMYK): Apple wants RGB"))
    if answer.content_type != header.type:
        yield Problem(_("is sent as another type than it is: {type}").format(type=answer.content_type or "-"))
    parts = urlsplit(address)
    if not parts.path.lower().endswith(ENDINGS[header.type]):
        yield Problem(_("the ending of its address is not that of its type: Apple refuses it"))
    if parts.query:
        yield tripped(_("its address has a `?`: apps keep the old picture when it changes"))
    if not answer.whole or len(answer.body) > MOST_BYTES:
        kib = spoken_number(len(answer.body) // 1024)
        yield tripped(_("has {size} KiB: Spotify wants 512 at most").format(size=kib))
