"""Uploads to a fake homeserver."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from nio.crypto.attachments import decrypt_attachment

from bot.errors import TryLater
from bot.matrix.uploads import MOST_BYTES, TooLarge, Uploads, sealed_file
from bot.matrix.wire import Refused, Wire
from tests.matrix.stub import Stub

CONFIG, OLD_CONFIG = "/_matrix/client/v1/media/config", "/_matrix/media/v3/config"
UPLOAD = "/_matrix/media/v3/upload"
SIZE = 200_001
SOUND = os.urandom(SIZE)


class Taken:
    """An upload as the homeserver got it."""

    body = b""
    query: dict[str, str]
    type = ""
    chunked = True


@pytest.fixture
async def uploads(stub: Stub) -> AsyncIterator[Uploads]:
    wire = Wire(stub.address)
    wire.token = "secret"
    yield Uploads(wire)
    await wire.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sound.ogg"
    path.write_bytes(SOUND)
    return path


@pytest.fixture
def taken(stub: Stub) -> Taken:
    """Let the homeserver take every upload."""
    seen = Taken()

    async def take(request: web.Request) -> web.Response:
        seen.body, seen.query = await request.read(), dict(request.query)
        seen.type, seen.chunked = request.content_type, "Content-Length" not in request.headers
        return web.json_response({"content_uri": "mxc://hs/new"})

    stub.answers[UPLOAD] = take
    return seen


def gives_limit(stub: Stub, path: str, answer: object) -> None:
    async def config(_: web.Request) -> web.Response:
        return web.json_response(answer)

    stub.answers[path] = config


async def test_a_file_in_clear(uploads: Uploads, file: Path, taken: Taken) -> None:
    """The bytes arrive as they are, with their size, type and name."""
    source = await uploads.upload(file, "audio/ogg", name="kfmtra.ogg", sealed=False)
    assert (source.mxc, source.file) == ("mxc://hs/new", None)
    assert (taken.body, taken.query, taken.type) == (SOUND, {"filename": "kfmtra.ogg"}, "audio/ogg")
    assert not taken.chunked


async def test_a_sealed_file(uploads: Uploads, file: Path, taken: Taken) -> None:
    """Another library opens what arrives, with the key of the event alone; type and name are not told, and each upload
    has another key."""
    source = await uploads.upload(file, "audio/ogg", name="kfmtra.ogg", sealed=True)
    content = sealed_file(source)
    assert (content["v"], content["url"], content["key"]["alg"]) == ("v2", "mxc://hs/new", "A256CTR")
    opened = decrypt_attachment(taken.body, content["key"]["k"], content["hashes"]["sha256"], content["iv"])
    assert opened == SOUND
    assert (taken.query, taken.type) == ({}, "application/octet-stream")
    again = sealed_file(await uploads.upload(file, "audio/ogg", name="kfmtra.ogg", sealed=True))
    assert again["key"]["k"] != content["key"]["k"]
    assert again["iv"] != content["iv"]


@pytest.mark.parametrize("path", [CONFIG, OLD_CONFIG])
async def test_the_limit_is_asked_for_once(path: str, uploads: Uploads, stub: Stub) -> None:
    """The homeserver's limit is read from the new or the old endpoint, and kept."""
    gives_limit(stub, path, {"m.upload.size": 1234})
    assert [await uploads.limit(), await uploads.limit()] == [1234, 1234]
    assert [asked for asked, _ in stub.asked].count(path) == 1


@pytest.mark.parametrize("size", [None, "9", -1, 1 << 60])
async def test_no_sensible_limit(size: object, uploads: Uploads, stub: Stub) -> None:
    """A homeserver that names no limit, or none that can be meant, takes what we would ever send."""
    gives_limit(stub, CONFIG, {"m.upload.size": size})
    assert await uploads.limit() == MOST_BYTES


async def test_a_homeserver_without_the_endpoints_has_no_limit(uploads: Uploads) -> None:
    """Neither endpoint exists."""
    assert await uploads.limit() == MOST_BYTES


@pytest.mark.parametrize("errcode", ["M_TOO_LARGE", ""])
async def test_a_file_that_is_too_large(errcode: str, uploads: Uploads, stub: Stub, file: Path) -> None:
    """A refusal for its size, by the homeserver or a proxy before it, lowers the limit to half of that size."""
    gives_limit(stub, CONFIG, {"m.upload.size": 1 << 20})
    stub.says(UPLOAD, 413, errcode)
    with pytest.raises(TooLarge):
        await uploads.upload(file, "audio/ogg", name="a", sealed=False)
    assert await uploads.limit() == SIZE // 2


async def test_a_refusal_for_its_size_is_not_remembered_for_ever(
    uploads: Uploads, stub: Stub, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an hour a larger file is tried again."""
    monkeypatch.setattr("bot.matrix.uploads.LIMIT_HOLDS_S", 0.0)
    stub.says(UPLOAD, 413, "M_TOO_LARGE")
    with pytest.raises(TooLarge):
        await uploads.upload(file, "audio/ogg", name="a", sealed=False)
    assert await uploads.limit() == MOST_BYTES


async def test_other_refusals(uploads: Uploads, stub: Stub, file: Path) -> None:
    """A refusal is one, a homeserver that is away is asked again, and an answer without an address is none."""
    stub.says(UPLOAD, 403, "M_FORBIDDEN")
    with pytest.raises(Refused):
        await uploads.upload(file, "audio/ogg", name="a", sealed=False)
    stub.says(UPLOAD, 502)
    with pytest.raises(TryLater):
        await uploads.upload(file, "audio/ogg", name="a", sealed=False)
    answers: tuple[object, ...] = ({}, {"content_uri": "mxc://hs/../x"}, [])
    for answer in answers:
        gives_limit(stub, UPLOAD, answer)
        with pytest.raises(TryLater):
            await uploads.upload(file, "audio/ogg", name="a", sealed=True)
