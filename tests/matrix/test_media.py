"""Downloads from a fake homeserver."""

import asyncio
import base64
import hashlib
import os
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import GiveUp, TryLater, WrongBytes
from bot.matrix.media import Decryption, Media, PublicResolver
from bot.matrix.wire import Wire
from storage.records import EncryptedFile, MediaSource, MxcUri
from tests.matrix.stub import Stub

MIB = 1024 * 1024
PATH = "/_matrix/client/v1/media/download/remote.example/abc"
OLD_PATH = "/_matrix/media/v3/download/remote.example/abc"
SOURCE = MediaSource(MxcUri("mxc://remote.example/abc"))


@pytest.fixture
async def media(stub: Stub) -> AsyncIterator[Media]:
    wire = Wire(stub.address)
    wire.token = "secret"
    yield Media(wire)
    await wire.close()


def seal(data: bytes) -> tuple[bytes, EncryptedFile]:
    """Encrypt an attachment as clients do (Client-Server API, sending encrypted attachments)."""
    key, counter = os.urandom(32), os.urandom(8) + bytes(8)
    cipher = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor()
    sealed = cipher.update(data) + cipher.finalize()
    digest = hashlib.sha256(sealed).digest()
    return sealed, EncryptedFile(
        key=base64.urlsafe_b64encode(key).decode().rstrip("="),
        iv=base64.b64encode(counter).decode().rstrip("="),
        sha256=base64.b64encode(digest).decode().rstrip("="),
    )


def _exists(part: Path) -> bool:
    return part.exists()


async def give_up(media: Media, part: Path, *, source: MediaSource = SOURCE, max_bytes: int = MIB) -> str:
    """Give the reason with which a download is given up, and check that no file is left."""
    with pytest.raises(GiveUp) as caught:
        await media.fetch_media(source, part, max_bytes=max_bytes)
    assert not _exists(part)
    return caught.value.reason


async def test_fifty_megabytes_in_constant_memory(stub: Stub, media: Media, tmp_path: Path) -> None:
    """A large encrypted file arrives decrypted in constant memory, with the hash of the clear bytes."""
    block = os.urandom(MIB)
    sealed, file = seal(block * 50)
    stub.gives(PATH, sealed)
    part = tmp_path / "x.part"

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fetched = await media.fetch_media(MediaSource(SOURCE.mxc, file), part, max_bytes=64 * MIB)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert fetched.bytes == 50 * MIB
    assert fetched.sha256 == hashlib.sha256(block * 50).hexdigest()
    assert part.stat().st_size == 50 * MIB
    assert part.stat().st_mode & 0o777 == 0o600
    assert grown_kib < 20 * 1024
    assert stub.asked == [(PATH, "Bearer secret")]


async def test_plain_media_and_old_homeservers(stub: Stub, media: Media, tmp_path: Path) -> None:
    """A homeserver without authenticated media is asked at the old endpoint."""
    stub.gives(OLD_PATH, b"sound")
    part = tmp_path / "x.part"
    fetched = await media.fetch_media(SOURCE, part, max_bytes=5)
    assert (fetched.bytes, fetched.sha256) == (5, hashlib.sha256(b"sound").hexdigest())
    assert part.read_bytes() == b"sound"
    assert [path for path, _ in stub.asked] == [PATH, OLD_PATH]


async def test_hash_mismatch(stub: Stub, media: Media, tmp_path: Path) -> None:
    """Bytes with another hash than announced are refused, and kept to be compared with the next download."""
    sealed, file = seal(b"sound")
    part = tmp_path / "x"
    stub.gives(PATH, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(WrongBytes) as caught:
        await media.fetch_media(MediaSource(SOURCE.mxc, file), part, max_bytes=MIB)
    assert (caught.value.reason, caught.value.bytes) == ("hash_mismatch", 5)
    assert hashlib.sha256(part.read_bytes()).hexdigest() == caught.value.sha256
    assert part.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("chunked", [False, True])
async def test_too_large(stub: Stub, media: Media, tmp_path: Path, chunked: bool) -> None:
    """Media over the limit is given up, by its announced length or while it downloads."""

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if not chunked:
            response.content_length = 10**12
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(64 * 1024))
        except (ConnectionError, asyncio.CancelledError):
            return response

    stub.answers[PATH] = endless
    assert await give_up(media, tmp_path / "x") == "too_large"


@pytest.mark.parametrize(
    ("status", "errcode", "reason"),
    [
        (404, "M_NOT_FOUND", "not_found"),
        (404, "M_UNRECOGNIZED", "not_found"),
        (403, "M_FORBIDDEN", "forbidden"),
        (413, "M_TOO_LARGE", "too_large"),
    ],
)
async def test_refusals(stub: Stub, media: Media, tmp_path: Path, status: int, errcode: str, reason: str) -> None:
    """A permanent refusal gives the download up with its reason."""
    stub.says(PATH, status, errcode)
    assert await give_up(media, tmp_path / "x") == reason


@pytest.mark.parametrize(
    ("status", "errcode"),
    [
        (404, "M_NOT_YET_UPLOADED"),
        (504, "M_NOT_YET_UPLOADED"),
        (502, ""),
        (429, ""),
        (401, "M_UNKNOWN_TOKEN"),
        (401, ""),
        (403, ""),
        (413, ""),
    ],
)
async def test_what_may_come_later(stub: Stub, media: Media, tmp_path: Path, status: int, errcode: str) -> None:
    """A temporary failure is tried again later, after the pause that the homeserver asks for."""
    stub.says(PATH, status, errcode, **{"Retry-After": "7"})
    with pytest.raises(TryLater) as caught:
        await media.fetch_media(SOURCE, tmp_path / "x", max_bytes=MIB)
    assert caught.value.after_s == (7 if status == 429 else None)
    assert not (tmp_path / "x").exists()
    assert "secret" not in str(caught.value)


async def test_a_download_that_breaks_off(stub: Stub, media: Media, tmp_path: Path) -> None:
    """An interrupted download leaves no file and is tried again later."""

    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 1000
        await response.prepare(request)
        await response.write(bytes(500))
        assert request.transport is not None
        request.transport.abort()
        return response

    stub.answers[PATH] = half
    with pytest.raises(TryLater):
        await media.fetch_media(SOURCE, tmp_path / "x", max_bytes=MIB)
    assert not (tmp_path / "x").exists()


async def test_a_cancelled_download_leaves_nothing(stub: Stub, media: Media, tmp_path: Path) -> None:
    """A stop in the middle removes the partial file."""
    begun = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(bytes(100))
        begun.set()
        await asyncio.Event().wait()
        return response

    stub.answers[PATH] = hang
    task = asyncio.create_task(media.fetch_media(SOURCE, tmp_path / "x", max_bytes=MIB))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not (tmp_path / "x").exists()


async def test_a_download_outlives_the_session(stub: Stub, media: Media, tmp_path: Path) -> None:
    """A download under way when the session ends may finish; no new one starts."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        begun.set()
        await go_on.wait()
        await response.write(b"sound")
        return response

    stub.answers[PATH] = slow
    task = asyncio.create_task(media.fetch_media(SOURCE, tmp_path / "x", max_bytes=MIB))
    await begun.wait()
    await media._wire.close()
    with pytest.raises(TryLater, match="ended"):
        await media.fetch_media(SOURCE, tmp_path / "y", max_bytes=MIB)
    go_on.set()
    assert (await task).bytes == 5
    assert media._wire._http is None


async def test_a_redirect_is_taken_without_the_token(stub: Stub, media: Media, tmp_path: Path) -> None:
    """A redirect on the homeserver's own host is taken once, without the token."""
    stub.says(PATH, 307, Location="/cdn/abc?sig=1")
    stub.gives("/cdn/abc", b"sound")
    assert (await media.fetch_media(SOURCE, tmp_path / "x", max_bytes=MIB)).bytes == 5
    assert stub.asked == [(PATH, "Bearer secret"), ("/cdn/abc", None)]


SIGNED = [
    "/bucket/a%2Fb.ogg?X-Amz-Credential=AKIA%2F20261129%2Feu&X-Amz-Signature=ab",
    "/a%27b%7Ec%21d%28e%29f%2Ag",
    "/a'b~c!d(e)f*g",
    "/a%2fb%2Fc?x=%2f%2F",
    "/a+b%20c%2Bd?x=a+b%20c%2Bd",
    "/a;v=1;w=2?x=1;y=2&z==",
    "/%C3%BCber?name=%c3%bc",
    "/über?name=ü",
    "/a//b/../c/./d?next=https://x.example/?a=b",
    "/a%00%0d%0aX:%20y",
    "/a?x=%",
    "/a:b@c$d,e?x[]=1&x[]=2|3^4",
]


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("target", SIGNED)
async def test_a_redirect_is_asked_for_as_it_was_sent(target: str, absolute: bool, tmp_path: Path) -> None:
    """A signed address is requested byte for byte; a relative one loses its dot segments (RFC 3986, section 5.2)."""
    targets: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        targets.append(head.split(b" ", 2)[1].decode())
        assert (b"secret" in head) == (len(targets) == 1)
        location = (f"http://127.0.0.1:{port}" if absolute else "") + target
        first = f"HTTP/1.1 307 Look there\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        last = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nsound"
        writer.write((first if len(targets) == 1 else last).encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        wire = Wire(f"http://127.0.0.1:{port}")
        wire.token = "secret"
        await Media(wire).fetch_media(SOURCE, tmp_path / "x", max_bytes=MIB)
        await wire.close()
    normal = target if absolute else target.replace("/b/../c/./d", "/c/d")
    assert targets == [PATH, normal]


@pytest.mark.parametrize("location", ["http://[::1", "http://127.0.0.1:99999/", "http://127.0.0.1:x/", ""])
async def test_a_malformed_redirect_is_none(stub: Stub, media: Media, tmp_path: Path, location: str) -> None:
    """A malformed redirect causes no request."""
    stub.says(PATH, 307, Location=location)
    assert await give_up(media, tmp_path / "x") == "forbidden"


async def test_a_second_redirect_is_not(stub: Stub, media: Media, tmp_path: Path) -> None:
    """A second redirect is refused."""
    stub.says(PATH, 307, Location="/cdn/abc")
    stub.says("/cdn/abc", 302, Location="/cdn/other")
    assert await give_up(media, tmp_path / "x") == "forbidden"
    assert "/cdn/other" not in [path for path, _ in stub.asked]


@pytest.mark.parametrize(
    "location",
    [
        "http://localhost:{port}/cdn/abc",
        "http://127.0.0.2:{port}/cdn/abc",
        "http://127.1:{port}/cdn/abc",
        "http://2130706433:{port}/cdn/abc",
        "http://0x7f.1:{port}/cdn/abc",
        "http://[::1]:{port}/cdn/abc",
        "http://[::ffff:127.0.0.1]:{port}/cdn/abc",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "file:///etc/passwd",
        "//user:password@127.0.0.1:{port}/cdn/abc",
    ],
)
async def test_no_redirect_into_private_networks(stub: Stub, media: Media, tmp_path: Path, location: str) -> None:
    """A redirect to an address that is not public is refused before any request."""
    stub.says(PATH, 307, Location=location.format(port=stub.address.rpartition(":")[2]))
    stub.gives("/cdn/abc", b"secret page")
    assert await give_up(media, tmp_path / "x") == "forbidden"
    assert [path for path, _ in stub.asked] == [PATH]


async def test_names_are_checked_by_what_they_resolve_to() -> None:
    """A host name that resolves to loopback is refused; the homeserver's own name is allowed."""
    with pytest.raises(OSError, match="no public address"):
        await PublicResolver(None).resolve("localhost", 80)
    assert await PublicResolver("localhost").resolve("localhost", 80)


async def test_hostile_addresses_are_not_asked_for(stub: Stub, media: Media, tmp_path: Path) -> None:
    """An address that would leave its path is refused before any request."""
    source = MediaSource(MxcUri("mxc://remote.example/../../../client/v3/account/whoami"))
    assert await give_up(media, tmp_path / "x", source=source) == "bad_address"
    assert stub.asked == []


async def test_a_bad_key_is_not_asked_for(stub: Stub, media: Media, tmp_path: Path) -> None:
    """A malformed key is refused before any request."""
    _, file = seal(b"")
    bad = EncryptedFile(key=file.key[:-4], iv=file.iv, sha256=file.sha256)
    assert await give_up(media, tmp_path / "x", source=MediaSource(SOURCE.mxc, bad)) == "bad_key"
    assert stub.asked == []


@given(st.binary(max_size=5000), st.lists(st.integers(1, 700), min_size=1))
def test_decryption_does_not_depend_on_the_pieces(data: bytes, sizes: list[int]) -> None:
    """Decryption does not depend on how the bytes are split."""
    sealed, file = seal(data)
    decryption, clear, at = Decryption(file), b"", 0
    while at < len(sealed):
        size = sizes[at % len(sizes)]
        clear += decryption.update(sealed[at : at + size])
        at += size
    assert clear == data
    assert decryption.finish(len(data)) == hashlib.sha256(data).hexdigest()
