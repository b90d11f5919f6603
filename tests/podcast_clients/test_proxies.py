"""Web servers in front, set up as the docs say: what members and their programs broadcast comes through them."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
from aiohttp import ClientSession, UnixConnector

from storage.records import StudioSource, StudioState
from tests.podcast_clients.conftest import needed
from tests.podcast_clients.programs import WITHIN_S, Home
from tests.studio.air import TOKEN, as_file, spoken
from tests.web.tower import Tower, tower_over, whole

pytestmark = pytest.mark.podcasts

DEPLOY = Path(__file__).parent.parent.parent / "docs" / "deploy.md"
SITE = "http://radio.example.org"
NGINX = """user root; daemon off; pid {home}/pid; error_log stderr notice; events {{ }}
http {{
client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
{example}
}}
"""


@pytest.fixture
async def tower(tmp_path: Path) -> AsyncIterator[Tower]:
    async with tower_over(tmp_path / "data") as made:
        yield made


def example(language: str, holds: str) -> str:
    """Return an example out of the docs."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", DEPLOY.read_text(), re.DOTALL | re.MULTILINE)
    found: str
    (found,) = (block for block in blocks if holds in block)
    return found


def nginx(home: Path, port: int) -> tuple[Sequence[str], bytes]:
    """Write the docs' example, without TLS and at a socket; return the command, and what it says once it listens."""
    text = example("nginx", "upstream aircheck").replace("127.0.0.1:8040", f"127.0.0.1:{port}")
    text = re.sub(r"^ *(ssl_certificate|access_log|error_log).*$", "", text, flags=re.MULTILINE)
    text = text.replace("listen 443 ssl http2;", f"listen unix:{home / 'socket'};")
    (home / "nginx.conf").write_text(NGINX.format(home=home, example=text))
    return ("nginx", "-p", str(home), "-c", str(home / "nginx.conf")), b"start worker process"


def caddy(home: Path, port: int) -> tuple[Sequence[str], bytes]:
    """Do the same with the docs' example of Caddy."""
    text = example("caddy", "format filter").replace("127.0.0.1:8040", f"127.0.0.1:{port}")
    text = text.replace("\nradio.example.org {\n", f"\n{SITE} {{\n\tbind unix/{home / 'socket'}\n")
    (home / "Caddyfile").write_text(text.replace("{\n", "{\n\tadmin off\n", 1))
    command = ("caddy", "run", "--adapter", "caddyfile", "--config", str(home / "Caddyfile"))
    return command, b"serving initial configuration"


COUNT = count()
PROXIES = {"nginx": nginx, "caddy": caddy}


@asynccontextmanager
async def proxy(name: str, directory: Path, port: int) -> AsyncIterator[Path]:
    """Run a web server in front of a port; yield its socket."""
    needed(name, "curl")
    home = Home(directory)
    command, listens = await asyncio.to_thread(PROXIES[name], directory, port)
    async with home.running(*command) as process:
        assert process.stdout is not None
        said = b""
        async with asyncio.timeout(WITHIN_S):
            while listens not in said:
                line = await process.stdout.readline()
                said += line
                assert line, said.decode(errors="replace")
        draining = asyncio.create_task(process.stdout.read())
        try:
            yield directory / "socket"
        finally:
            draining.cancel()
            await asyncio.gather(draining, return_exceptions=True)


async def curl(tmp_path: Path, socket: Path, *options: str) -> str:
    """Ask for the mount point as a source; return the status of the answer."""
    home = Home(tmp_path / f"curl-{next(COUNT)}")
    asked = ("-sS", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", str(socket), "-u", f"source:{TOKEN}")
    return (await home.run("curl", *asked, *options, f"{SITE}/studio/source")).strip()


@pytest.mark.parametrize("name", PROXIES)
async def test_source_in_chunks_comes_through(tower: Tower, tmp_path: Path, name: str) -> None:
    """Sound in chunks is an episode to the sample. A program that sends it without its length is told that it can't.

    Caddy tells nobody's address for a socket of the system: then only a length of 0 says that the sound was lost."""
    studio = await tower.air.studio(StudioSource.CLIENT, TOKEN)
    truth, file = spoken(12), tmp_path / "show.ogg"
    await asyncio.to_thread(file.write_bytes, await as_file(truth, "-f", "ogg", "-c:a", "flac"))
    async with proxy(name, tmp_path / "proxy", tower.port) as socket:
        assert await curl(tmp_path, socket, "-X", "PUT") == "411"
        assert await curl(tmp_path, socket, "-T", str(file), "-H", "Transfer-Encoding: chunked") == "200"
        assert (await tower.air.now(studio)).state is StudioState.OVER
        assert await curl(tmp_path, socket, "-T", str(file), "-H", "Transfer-Encoding: chunked") == "410"
    await whole(tower, studio, truth)


@pytest.mark.parametrize("name", PROXIES)
async def test_slice_of_a_page_comes_through(tower: Tower, tmp_path: Path, name: str) -> None:
    """The page's uploads pass, though nothing else may have a body of their size."""
    studio = await tower.air.studio(StudioSource.PAGE, TOKEN)
    truth = spoken(8)
    data = await as_file(truth, "-f", "ogg", "-c:a", "libopus", "-b:a", "96k")
    assert len(data) > 64 * 1024
    who = {"client": "a-page-in-a-test"}
    async with (
        proxy(name, tmp_path / "proxy", tower.port) as socket,
        ClientSession(connector=UnixConnector(str(socket))) as http,
        asyncio.timeout(WITHIN_S),
    ):
        async with http.post(f"{SITE}/studio/{TOKEN}/start", json=who) as answer:
            assert answer.status == 200, await answer.text()
        headers = {"X-Client": who["client"], "X-Duration-Ms": "8000"}
        async with http.put(f"{SITE}/studio/{TOKEN}/slice-1", data=data, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
        async with http.post(f"{SITE}/studio/{TOKEN}/stop", json=who | {"last": 1}) as answer:
            assert answer.status == 200, await answer.text()
    await whole(tower, studio, truth)
