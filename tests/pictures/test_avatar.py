"""Strangers' pictures: made safe by ffmpeg under the limits of chunks, and opened by no library of ours."""

import io
import itertools
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bot.audio import child
from bot.audio.ffmpeg import Ffmpeg
from bot.pictures.avatar import MAX_AVATAR_BYTES, safe_picture

SIDE = 1400
RED = (255, 0, 0)


def opened(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture), formats=("JPEG",)).copy()


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


async def taken(ffmpeg: Ffmpeg, folder: Path, data: bytes) -> bytes | None:
    path = folder / "avatar"
    path.write_bytes(data)
    return await safe_picture(ffmpeg, path, SIDE)


def is_near(found: Any, wanted: tuple[int, int, int]) -> bool:
    return all(abs(one - other) <= 12 for one, other in zip(found, wanted, strict=True))


def moving(form: str) -> bytes:
    first, second = Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "blue")
    return encoded(first, form, save_all=True, append_images=[second], duration=100)


HEALTHY: dict[str, tuple[bytes, tuple[int, int, int] | None]] = {
    "JPEG": (encoded(Image.new("RGB", (300, 200), "red"), "JPEG"), RED),
    "JPEG, progressive": (encoded(Image.new("RGB", (300, 200), "red"), "JPEG", progressive=True), RED),
    "JPEG, grey": (encoded(Image.new("L", (64, 64), 255), "JPEG"), (255, 255, 255)),
    "JPEG, CMYK": (encoded(Image.new("CMYK", (64, 64), (0, 255, 255, 0)), "JPEG"), None),
    "PNG": (encoded(Image.new("RGBA", (2000, 1500), (255, 0, 0, 255)), "PNG"), RED),
    "PNG, 16 bits": (encoded(Image.new("I;16", (64, 64)), "PNG"), (0, 0, 0)),
    "PNG, one bit": (encoded(Image.new("1", (64, 64), 1), "PNG"), (255, 255, 255)),
    "PNG, palette": (encoded(Image.new("RGB", (64, 64), "red").quantize(4), "PNG"), RED),
    "PNG, clear": (encoded(Image.new("RGBA", (100, 100), (0, 0, 0, 0)), "PNG"), (255, 255, 255)),
    "PNG, half clear": (encoded(Image.new("RGBA", (100, 100), (0, 0, 0, 128)), "PNG"), (127, 127, 127)),
    "PNG, one pixel": (encoded(Image.new("RGB", (1, 1), "red"), "PNG"), RED),
    "PNG, a strip": (encoded(Image.new("RGB", (3, 9000), "red"), "PNG"), RED),
    "JPEG, a strip": (encoded(Image.new("RGB", (9000, 3), "red"), "JPEG"), RED),
    "GIF": (encoded(Image.new("RGB", (64, 64), "red"), "GIF"), RED),
    "GIF, moving": (moving("GIF"), RED),
    "WebP": (encoded(Image.new("RGB", (64, 500), "red"), "WEBP"), RED),
    "WebP, lossless, clear": (
        encoded(Image.new("RGBA", (64, 64), (0, 0, 0, 0)), "WEBP", lossless=True),
        (255, 255, 255),
    ),
    "WebP, moving": (moving("WEBP"), RED),
}


@pytest.mark.parametrize("what", HEALTHY)
async def test_taken(ffmpeg: Ffmpeg, tmp_path: Path, what: str) -> None:
    """A healthy picture of any usual format becomes a square JPEG, no larger than it is or than is asked for, white
    where it is clear, with the same bytes each time."""
    data, colour = HEALTHY[what]
    picture = await taken(ffmpeg, tmp_path, data)
    assert picture is not None
    image = opened(picture)
    side = min(SIDE, *Image.open(io.BytesIO(data)).size)
    assert image.width == image.height
    assert (side - image.width in (0, 1), image.mode) == (True, "RGB")  # half the colours have an even side
    if colour is not None:
        assert is_near(image.getpixel((side // 2, side // 2)), colour)
        assert is_near(image.getpixel((side // 200, side // 200)), colour)
    assert await taken(ffmpeg, tmp_path, data) == picture


async def test_upright_and_without_what_the_file_tells(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A picture is turned as its Exif says; Exif (with the place where it was taken), comments and profiles are
    removed."""
    image = Image.new("RGB", (200, 200), "red")
    image.paste("blue", (0, 100, 200, 200))
    exif = image.getexif()
    exif[0x0112] = 3  # upside down
    exif[0x010E] = "a secret place"
    picture = await taken(
        ffmpeg, tmp_path, encoded(image, "JPEG", exif=exif, comment=b"a secret word", icc_profile=b"secret" * 50)
    )
    assert picture is not None
    assert b"secret" not in picture
    assert b"Exif" not in picture
    assert is_near(opened(picture).getpixel((100, 30)), (0, 0, 255))


def png(width: int, height: int, data: bytes = bytes(1000)) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    body = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


REFUSED = {
    "nothing": b"",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "60,000 by 60,000 pixels in a few bytes": png(60_000, 60_000),
    "81 million pixels": encoded(Image.new("1", (9000, 9000)), "PNG"),
    "no pixels": png(0, 0),
    "a JPEG that was cut": encoded(Image.new("RGB", (300, 200), "red"), "JPEG")[:-400],
    "a PNG that was cut": encoded(Image.effect_noise((300, 300), 90), "PNG")[:-20_000],
    "BMP": encoded(Image.new("RGB", (300, 200), "red"), "BMP"),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "the first bytes only": b"\x89PNG\r\n\x1a\n",
    "a playlist behind a JPEG's first bytes": b"\xff\xd8\xff#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "too many bytes": b"\xff\xd8\xff" + bytes(MAX_AVATAR_BYTES),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_refused(ffmpeg: Ffmpeg, tmp_path: Path, what: str) -> None:
    """A file that is no picture, is damaged or too large is refused."""
    assert await taken(ffmpeg, tmp_path, REFUSED[what]) is None


async def test_a_picture_is_opened_by_one_demuxer_from_a_file_within_limits(
    ffmpeg: Ffmpeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command names one demuxer, one codec, the file protocol and the pixels allowed; the child has limits."""
    seen: list[Any] = []
    real: Callable[..., Any] = child.running

    def noted(command: list[str], limits: Any, **more: Any) -> Any:
        seen.append((command, limits))
        return real(command, limits, **more)

    monkeypatch.setattr("bot.audio.ffmpeg.running", noted)
    assert await taken(ffmpeg, tmp_path, HEALTHY["WebP"][0])
    ((command, limits),) = seen
    options = dict(itertools.pairwise(command[: command.index("-i")]))
    assert options["-format_whitelist"] == options["-f"] == "webp_pipe"
    assert (options["-codec_whitelist"], options["-protocol_whitelist"]) == ("webp", "file")
    assert options["-max_pixels"] == "40000000"
    assert limits.cpu_s <= 20
    assert limits.file_bytes == 0


def test_no_library_of_ours_can_open_a_picture() -> None:
    """The module that makes avatars safe imports no Pillow."""
    program = "import sys, bot.pictures.avatar; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
