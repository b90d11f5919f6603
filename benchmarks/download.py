"""Download and decrypt over loopback: rate and memory. The server is a process of its own."""

import asyncio
import base64
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from benchmarks import usage
from benchmarks.figures import Figure, at_least, at_most
from bot.matrix.media import Media
from bot.matrix.wire import Wire
from storage.records import EncryptedFile, MediaSource, MxcUri

MB = 1_000_000
SIZE = 60 * MB  # below recording.max_chunk_bytes
TIMES = 8
RATE = 250.0  # MB/s
GROWTH_MIB = 16.0
"""Growth that counts as constant memory: buffers, whatever the size of the file."""


def seal(data: bytes) -> tuple[bytes, EncryptedFile]:
    """Encrypt a file as clients do (Client-Server API, sending encrypted attachments)."""
    key, counter = os.urandom(32), os.urandom(8) + bytes(8)
    cipher = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor()
    sealed = cipher.update(data) + cipher.finalize()
    key_text, counter_text, digest = (
        base64.urlsafe_b64encode(raw).decode().rstrip("=") for raw in (key, counter, hashlib.sha256(sealed).digest())
    )
    return sealed, EncryptedFile(key=key_text, iv=counter_text, sha256=digest)


async def serve(file: Path) -> None:
    """Run as the homeserver's process: print the port, then answer every request with the file."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.FileResponse(file)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


@asynccontextmanager
async def serving(file: Path) -> AsyncIterator[str]:
    """Start a homeserver that has this file and yield its address."""
    command = [sys.executable, "-m", "benchmarks.download", str(file)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.terminate()
        await process.wait()


async def run(directory: Path) -> list[Figure]:
    sealed, file = seal(os.urandom(SIZE))
    (directory / "sealed").write_bytes(sealed)
    del sealed
    source = MediaSource(MxcUri("mxc://bench/chunk"), file)
    async with serving(directory / "sealed") as address:
        wire = Wire(address)
        wire.token = "none"
        media, part = Media(wire), directory / "part"
        try:
            await media.fetch_media(source, part, max_bytes=SIZE)
            usage.forget_peak()
            before, cpu, began = usage.peak_mib(), usage.cpu_seconds(), time.monotonic()
            for _ in range(TIMES):
                await media.fetch_media(source, part, max_bytes=SIZE)
            took, cpu = time.monotonic() - began, usage.cpu_seconds() - cpu
            grown = usage.peak_mib() - before
        finally:
            await wire.close()
    amount = TIMES * SIZE / MB
    more = f" ({cpu / amount * 1000:.1f} ms of CPU per MB, fsync included)"
    return [
        at_least("download and decrypt", amount / took, RATE, "MB/s", more),
        at_most(f"memory for files of {SIZE // MB} MB", grown, GROWTH_MIB, "MiB"),
    ]


def figures() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run(Path(folder)))


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
