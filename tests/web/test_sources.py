"""Source clients over real connections, with the real recorder, worker and ffmpeg behind them."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from imageio_ffmpeg import get_ffmpeg_exe

from bot.recording.model import Change
from bot.studio.broadcasting import Pace
from bot.studio.life import RESUMES_AT_ONCE
from bot.studio.writing import Writing
from bot.web import source_work, taken_over
from bot.web.access import StudioAccess
from bot.web.taken_over import TakenOver
from storage.records import EndedBy, RecordingState, StudioSource, StudioState
from tests.connections import Connection, connected
from tests.studio.air import TOKEN, as_file, assert_aligned, spoken
from tests.web.tower import BASIC, WITHIN_S, Tower, tower_over, whole

MP3 = ("-f", "mp3", "-b:a", "128k", "-write_xing", "0", "-id3v2_version", "0")


@pytest.fixture
async def tower(tmp_path: Path) -> AsyncIterator[Tower]:
    async with tower_over(tmp_path / "data") as made:
        yield made


def request(*headers: str, method: str = "SOURCE", password: str = TOKEN, path: str = "/studio/source") -> bytes:
    basic = base64.b64encode(f"source:{password}".encode()).decode()
    lines = (f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Basic {basic}", *headers)
    return "\r\n".join((*lines, "", "")).encode()


async def status(line: Connection) -> int:
    async with asyncio.timeout(WITHIN_S):
        return int((await line.reader.readuntil(b"\r\n\r\n")).split()[1])


async def closed(line: Connection) -> bool:
    """Wait until the server has closed the connection."""
    async with asyncio.timeout(WITHIN_S):
        try:
            while await line.reader.read(4096):
                pass
        except ConnectionError:
            pass
    return True


async def send(line: Connection, data: bytes) -> None:
    line.writer.write(data)
    async with asyncio.timeout(WITHIN_S):
        await line.writer.drain()


OPUS = ("-f", "ogg", "-c:a", "libopus", "-b:a", "96k")
FLAC = ("-f", "ogg", "-c:a", "flac")
BY_HTTP = ("-method", "PUT", "-auth_type", "basic")


@pytest.mark.parametrize(
    ("options", "scheme", "mount"),
    [(OPUS, "icecast", ""), (FLAC, "icecast", ""), (OPUS, "icecast", "/pod"), ((*OPUS, *BY_HTTP), "http", "/pod")],
)
async def test_ffmpeg_sends_a_broadcast(
    tower: Tower, tmp_path: Path, options: tuple[str, ...], scheme: str, mount: str
) -> None:
    """ffmpeg's icecast:// and http:// outputs are a broadcast that is complete when ffmpeg ends, with every sample in
    its place. The mount point may have the path of the public address, as the direct message names it.

    Its older way, by SOURCE, leaves our answer unread and ends with a reset, in which the system drops what waits."""
    studio = await tower.air.studio(StudioSource.CLIENT, TOKEN)
    truth, file = spoken(19.7), tmp_path / "truth.flac"
    file.write_bytes(await as_file(truth, "-f", "flac"))
    command = [get_ffmpeg_exe(), "-v", "error", "-i", str(file), *options]
    address = f"{scheme}://source:{TOKEN}@127.0.0.1:{tower.port}{mount}/studio/source"
    command += ["-content_type", "application/ogg", address]
    sending = await asyncio.create_subprocess_exec(*command)
    try:
        async with asyncio.timeout(WITHIN_S):
            await sending.wait()
    finally:
        if sending.returncode is None:
            sending.kill()
            await sending.wait()
    await tower.becomes(studio, StudioState.OVER)
    await whole(tower, studio, truth)


async def test_chunked_put_that_expects_continue(tower: Tower) -> None:
    """A PUT in chunks is told to continue, ends with its last chunk, and is thanked."""
    studio = await tower.air.studio(StudioSource.CLIENT, TOKEN)
    truth = spoken(9)
    data = await as_file(truth, *MP3)
    async with connected(tower.port) as line:
        line.writer.write(request("Expect: 100-continue", "Transfer-Encoding: chunked", method="PUT"))
        assert await status(line) == 100
        for at in range(0, len(data), 5000):
            await send(line, b"%x\r\n%s\r\n" % (len(data[at : at + 5000]), data[at : at + 5000]))
        await send(line, b"0\r\n\r\n")
        assert await status(line) == 200
    assert (await tower.air.now(studio)).state is StudioState.OVER
    await whole(tower, studio, truth, late=1105)


async def test_sized_put_ends_with_its_last_byte(tower: Tower) -> None:
    """A whole file by PUT, as curl sends it, is a broadcast that ends by itself."""
    studio = await tower.air.studio(StudioSource.CLIENT, TOKEN)
    truth = spoken(6)
    data = await as_file(truth, "-f", "flac")
    async with ClientSession() as http, asyncio.timeout(WITHIN_S):
        address = f"http://127.0.0.1:{tower.port}/studio/source"
        async with http.put(address, data=data, headers=BASIC, expect100=True) as answer:
            assert answer.status == 200
    assert (await tower.air.now(studio)).state is StudioState.OVER
    await whole(tower, studio, truth)


async def test_connection_that_is_cut_goes_on(tower: Tower) -> None:
    """A source whose connection breaks is paused; when it comes back the same broadcast goes on, and nothing of what
    arrived is lost."""
    studio = await tower.air.studio(StudioSource.CLIENT, TOKEN)
    first, second = spoken(9, 1), spoken(8, 2)
    one, two = await as_file(first, *MP3), await as_file(second, "-f", "flac")
    async with connected(tower.port) as line:
        line.writer.write(request())
        assert await status(line) == 200
        await send(line, one)
        await tower.has_slices(studio, 3)
    await tower.becomes(studio, StudioState.PAUSED)
    async with connected(tower.port) as line:
        line.writer.write(request(f"Content-Length: {len(two)}", method="PUT"))
        assert await status(line) == 200
        await send(line, two)
        assert await closed(line)
    await tower.becomes(studio, StudioState.OVER)
    await tower.air.settled()
    recording = await tower.air.recording(studio)
    assert recording.state is RecordingState.COMPLETE
    found = await tower.air.heard(studio)
    assert_aligned(found[1105 : len(found) - len(second)], first[: 8 * 48_000])
    assert_aligned(found[len(found) - len(second) :], second)


async def come_and_close(tower: Tower) -> None:
    """Send five seconds of MP3 as a source, and close the connection."""
    async with connected(tower.port) as line:
        line.writer.write(request())
        assert await status(line) == 200
        await send(line, await as_file(spoken(5), *MP3))
        line.writer.write_eof()
        assert await closed(line)


async def test_closed_connection_is_stopped_when_it_stays_away(tower: Tower, monkeypatch: pytest.MonkeyPatch) -> None:
    """MP3 has no end of its own: a source that closed its connection is paused, and stopped soon after."""
    monkeypatch.setattr(source_work, "CLOSED_FOR_S", 0.0)
    studio = await tower.air.studio(StudioSource.CLIENT, TOKEN)
    await come_and_close(tower)
    await tower.becomes(studio, StudioState.OVER)
    await tower.air.settled()
    recording = await tower.air.recording(studio)
    assert (recording.state, recording.ended_by) == (RecordingState.COMPLETE, EndedBy.STOPPED)


@pytest.mark.parametrize("sent", [b"", bytes(200_000)], ids=["nothing", "no sound"])
async def test_source_that_comes_back_without_sound_is_stopped_too(
    tower: Tower, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """A broadcast that is to be stopped soon is not kept open by a source that comes and goes, and sends no sound."""
    monkeypatch.setattr(source_work, "CLOSED_FOR_S", 3600.0)
    studio = await tower.air.studio(StudioSource.CLIENT, TOKEN)
    await come_and_close(tower)
    await tower.becomes(studio, StudioState.PAUSED)
    monkeypatch.setattr(source_work, "CLOSED_FOR_S", 0.0)
    async with connected(tower.port) as line:
        line.writer.write(request())
        assert await status(line) == 200
        line.writer.write(sent)
        line.writer.write_eof()
        assert await closed(line)
    await tower.becomes(studio, StudioState.OVER)


@pytest.mark.parametrize("used", [False, True])
async def test_connection_of_a_source_is_not_idle(tower: Tower, used: bool) -> None:
    """A source is closed by no timer of the web server's for connections without a request. It may come over a
    connection that was used, as proxies keep theirs."""
    studio = await tower.air.studio(StudioSource.CLIENT, TOKEN)
    truth = spoken(6)
    data = await as_file(truth, "-f", "flac")
    async with connected(tower.port) as line:
        for name, code in (("robots.txt", 200), ("nothing", 404)) if used else ():
            line.writer.write(f"HEAD /{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert await status(line) == code
        line.writer.write(request(f"Content-Length: {len(data)}", method="PUT"))
        assert await status(line) == 200
        (held,) = tower.server._connections._open
        if held._keepalive_handle is not None:
            held._next_keepalive_close_time = 0.0
            held._process_keepalive()  # as after `KEEP_ALIVE_S`
        await send(line, data)
        assert await closed(line)
    assert (await tower.air.now(studio)).state is StudioState.OVER
    await whole(tower, studio, truth)


async def test_source_that_came_back_elsewhere_goes_on(tower: Tower, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process whose source closed its connection does not stop a broadcast that goes on at another one."""
    monkeypatch.setattr(source_work, "CLOSED_FOR_S", 3600.0)
    studio = await tower.air.studio(StudioSource.CLIENT, TOKEN)
    await come_and_close(tower)
    await tower.becomes(studio, StudioState.PAUSED)
    work = tower.server._sources._work
    assert work is not None
    paused = await tower.air.now(studio)
    other = Writing(tower.air.bot.store, tower.air.bot.settings, tower.air.bot.clock)
    await other.start(studio.id, "elsewhere", takes_over=True)
    await other.change(studio.id, "elsewhere", Change.RESUMED)
    await work._end(studio, paused.changes)
    assert (await tower.air.now(studio)).state is StudioState.LIVE
    await other.change(studio.id, "elsewhere", Change.PAUSED)
    await work._end(studio, (await tower.air.now(studio)).changes)
    assert (await tower.air.now(studio)).state is StudioState.OVER


async def test_silent_source_is_paused(tower: Tower, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which nothing comes any more is closed, and its broadcast waits for the source."""
    studio = await tower.air.studio(StudioSource.CLIENT, TOKEN)
    data = await as_file(spoken(5), *MP3)
    async with connected(tower.port) as line:
        line.writer.write(request())
        assert await status(line) == 200
        await send(line, data[:-500])
        await tower.has_slices(studio, 1)
        monkeypatch.setattr(
            source_work, "SILENT_S", 0.0
        )  # from the next bytes on: before, a busy machine is silent too
        await send(line, data[-500:])
        await tower.becomes(studio, StudioState.PAUSED)
        assert await closed(line)


async def test_source_without_sound_gives_its_place_back(tower: Tower, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which bytes come, and no sound, is closed as a silent one is."""
    monkeypatch.setattr(source_work, "SILENT_S", 3600.0)
    monkeypatch.setattr(source_work, "SOUNDLESS_S", 0.0)
    studio = await tower.air.studio(StudioSource.CLIENT, TOKEN)
    async with connected(tower.port) as line:
        line.writer.write(request())
        assert await status(line) == 200
        line.writer.write(b"x")
        assert await closed(line)
    assert (await tower.air.now(studio)).state is StudioState.WAITING


class NotedPace(Pace):
    """A pace that notes the seconds that it was asked for, and waits for none."""

    kept = 0.0

    async def keep(self, samples: int) -> None:
        NotedPace.kept += samples / 48_000


async def test_bytes_around_the_sound_count_too(tower: Tower, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that sends little sound in large chunk headers is no faster for it."""
    monkeypatch.setattr(source_work, "Pace", NotedPace)
    monkeypatch.setattr(NotedPace, "kept", 0.0)
    await tower.air.studio(StudioSource.CLIENT, TOKEN)
    async with connected(tower.port) as line:
        line.writer.write(request("Transfer-Encoding: chunked", method="PUT"))
        assert await status(line) == 200
        await send(line, (b"1;" + b"x" * 1000 + b"\r\nx\r\n") * 200 + b"0\r\n\r\n")
        assert await closed(line)
    assert NotedPace.kept > 0.09  # 200,000 bytes of 2,000,000 a second


async def test_right_that_ends_closes_the_connection(tower: Tower, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the speaker leaves the room, the connection is closed though nothing more is sent, and the broadcast is
    over with what came."""
    monkeypatch.setattr(source_work, "RIGHT_EVERY_S", 0.05)
    studio = await tower.air.studio(StudioSource.CLIENT, TOKEN)
    async with connected(tower.port) as line:
        line.writer.write(request())
        assert await status(line) == 200
        await send(line, await as_file(spoken(6), *MP3))
        await tower.has_slices(studio, 2)
        await tower.air.leave()
        assert await closed(line)
    await tower.becomes(studio, StudioState.OVER)
    async with connected(tower.port) as line:
        line.writer.write(request())
        assert await status(line) == 410


async def test_source_goes_on_while_a_new_bot_reads_its_rooms(tower: Tower, monkeypatch: pytest.MonkeyPatch) -> None:
    """`aircheck web` has sources on the air when the bot beside it is restarted: they go on, though no other may come
    before the rooms' state was read. The right is asked for again then."""
    monkeypatch.setattr(source_work, "RIGHT_EVERY_S", 0.0)
    studio = await tower.air.studio(StudioSource.CLIENT, TOKEN)
    truth = spoken(9)
    data = await as_file(truth, "-f", "flac")
    half = len(data) // 2
    asked = Asked(tower, monkeypatch)
    async with connected(tower.port) as line:
        line.writer.write(request(f"Content-Length: {len(data)}", method="PUT"))
        assert await status(line) == 200
        await send(line, data[:half])
        await tower.has_slices(studio, 1)
        tower.fresh = False
        await asked.again()
        async with connected(tower.port) as other:
            other.writer.write(request())
            assert await status(other) == 503
        await send(line, data[half:])
        assert await closed(line)
    assert (await tower.air.now(studio)).state is StudioState.OVER
    await whole(tower, studio, truth)


class Asked:
    """The looks at the rights of sources."""

    def __init__(self, tower: Tower, monkeypatch: pytest.MonkeyPatch) -> None:
        self._looked = asyncio.Condition()
        claims = tower.server._sources._claims
        self._real = claims.studio
        monkeypatch.setattr(claims, "studio", self._studio)

    async def _studio(self, *about: Any) -> StudioAccess:
        access = await self._real(*about)
        async with self._looked:
            self._looked.notify_all()
        return access

    async def again(self) -> None:
        """Wait until what was found by one look that began from now on was acted upon."""
        async with self._looked, asyncio.timeout(WITHIN_S):
            for _ in range(3):
                await self._looked.wait()


async def test_server_that_stops_pauses_its_sources(tmp_path: Path) -> None:
    """When the bot stops, what came is written, and the source may go on after the start."""
    async with tower_over(tmp_path / "data") as tower:
        studio = await tower.air.studio(StudioSource.CLIENT, TOKEN)
        async with connected(tower.port) as line:
            line.writer.write(request())
            assert await status(line) == 200
            await send(line, await as_file(spoken(6), *MP3))
            await tower.has_slices(studio, 2)
            await tower.server.stop()
            assert await closed(line)
        assert (await tower.air.now(studio)).state is StudioState.PAUSED


async def _nothing(_: Tower) -> None:
    """Change nothing."""


async def _page(tower: Tower) -> None:
    await tower.air.studio(StudioSource.PAGE, TOKEN)


async def _expired(tower: Tower) -> None:
    await tower.air.studio(StudioSource.CLIENT, TOKEN, expires_at=tower.air.bot.clock() - timedelta(seconds=1))


async def _over(tower: Tower) -> None:
    await tower.air.studio(StudioSource.CLIENT, TOKEN, state=StudioState.OVER)


async def _left(tower: Tower) -> None:
    await tower.air.studio(StudioSource.CLIENT, TOKEN)
    await tower.air.leave()


async def _unknown_state(tower: Tower) -> None:
    await tower.air.studio(StudioSource.CLIENT, TOKEN)
    tower.fresh = False


async def _away_for_too_long(tower: Tower) -> None:
    now = tower.air.bot.clock()
    paused = now - timedelta(seconds=tower.air.bot.settings.recording.paused_for_s + 1)
    await tower.air.studio(StudioSource.CLIENT, TOKEN, state=StudioState.PAUSED, heard_at=paused, client="source")


@pytest.mark.parametrize(
    ("before", "code"),
    [(_nothing, 401), (_page, 401), (_expired, 410), (_over, 410), (_left, 410), (_unknown_state, 503),
     (_away_for_too_long, 410)],
)  # fmt: skip
async def test_source_without_the_right_is_refused(
    tower: Tower, before: Callable[[Tower], Awaitable[None]], code: int
) -> None:
    """Each reason has its answer, before anything of the sound is asked for, and for titles of songs too."""
    await before(tower)
    async with connected(tower.port) as line:
        line.writer.write(request("Expect: 100-continue", "Transfer-Encoding: chunked", method="PUT"))
        assert await status(line) == code
        assert await closed(line)
    address = f"http://127.0.0.1:{tower.port}/admin/metadata?mode=updinfo&mount=/studio/source&song=A+song"
    async with ClientSession() as http, http.get(address, headers=BASIC) as answer:
        assert answer.status == code


async def test_wrong_requests_are_answered(tower: Tower) -> None:
    """No password, another mount point, and no HTTP have each their answer."""
    await tower.air.studio(StudioSource.CLIENT, TOKEN)
    for said, code in (
        (b"SOURCE /studio/source HTTP/1.0\r\n\r\n", 401),
        (request(password="wrong"), 401),
        (request(password="wrong", path="/pod/studio/source"), 401),
        (request(password="wrong", path="/air/studio/source", method="PUT"), 401),
        (request(path="/stream"), 404),
        (b"SOURCE \r\n\r\n", 400),
        (b"SOURCE //[x HTTP/1.0\r\n\r\n", 404),
        (b"SOURCE /studio/source HTTP/1.0\r\n" + b"x" * 40_000, 400),
        (request("Content-Length: many"), 400),
    ):
        async with connected(tower.port) as line:
            line.writer.write(said)
            assert await status(line) == code
            assert await closed(line)


async def test_source_whose_sound_does_not_come_through_is_told_so(tower: Tower) -> None:
    """A source whose sound a web server has not handed on is refused at once; with a wrong password it learns only
    that."""
    studio = await tower.air.studio(StudioSource.CLIENT, TOKEN)
    for said, code in (
        (request("X-Forwarded-For: 192.0.2.1", "Expect: 100-continue", method="PUT"), 411),
        (request("Content-Length: 0", method="PUT"), 411),
        (request("Content-Length: 0", method="PUT", password="wrong"), 401),
    ):
        async with connected(tower.port) as line:
            line.writer.write(said)
            assert await status(line) == code
            assert await closed(line)
    assert (await tower.air.now(studio)).state is StudioState.WAITING


async def test_source_on_a_poor_network_is_put_off_and_not_ended(tower: Tower) -> None:
    """Whoever broke off too often in a short time may go on a little later; all day it is no trouble."""
    now = tower.air.bot.clock()
    changes = 2 * (RESUMES_AT_ONCE + 359)
    hourly = {"state": StudioState.PAUSED, "client": "before", "heard_at": now, "changes": changes}
    studio = await tower.air.studio(StudioSource.CLIENT, TOKEN, started_at=now - timedelta(seconds=3599), **hourly)
    async with connected(tower.port) as line:
        line.writer.write(request())
        assert await status(line) == 503
        assert await closed(line)
    assert (await tower.air.now(studio)).state is StudioState.PAUSED
    await tower.air.bot.pass_by(1)
    async with connected(tower.port) as line:
        line.writer.write(request())
        assert await status(line) == 200
        await send(line, await as_file(spoken(6), *MP3))
        await tower.has_slices(studio, 1)
    paused = await tower.becomes(studio, StudioState.PAUSED)
    assert paused.changes == changes + 2


async def test_second_source_is_refused(tower: Tower) -> None:
    """While one source has the studio another gets Icecast's answer, and the first goes on."""
    studio = await tower.air.studio(StudioSource.CLIENT, TOKEN)
    data = await as_file(spoken(6), "-f", "flac")
    async with connected(tower.port) as line, connected(tower.port) as other:
        line.writer.write(request(f"Content-Length: {len(data)}", method="PUT"))
        assert await status(line) == 200
        other.writer.write(request())
        assert await status(other) == 403
        await send(line, data)
        assert await closed(line)
    assert (await tower.air.now(studio)).state is StudioState.OVER


async def test_what_is_no_sound_begins_nothing(tower: Tower) -> None:
    """A source that sends something else is told so; the studio is as before, and can be used."""
    studio = await tower.air.studio(StudioSource.CLIENT, TOKEN)
    async with connected(tower.port) as line:
        line.writer.write(request("Expect: 100-continue", "Content-Length: 200000", method="PUT"))
        assert await status(line) == 100
        await send(line, bytes(200_000))
        assert await status(line) == 415
    async with connected(tower.port) as line:  # a web server has answered `100 Continue`, and hands on this alone
        line.writer.write(request("X-Forwarded-For: 192.0.2.1", "Content-Length: 200000", method="PUT"))
        await send(line, bytes(200_000))
        assert await status(line) == 415
    assert (await tower.air.now(studio)).state is StudioState.WAITING


async def test_title_of_a_song_is_taken_and_not_used(tower: Tower) -> None:
    """Clients that update the title are answered as Icecast answers."""
    await tower.air.studio(StudioSource.CLIENT, TOKEN)
    address = f"http://127.0.0.1:{tower.port}/admin/metadata?mode=updinfo&mount=/studio/source&song=A+song"
    async with ClientSession() as http:
        async with http.get(address, headers=BASIC) as answer:
            assert (answer.status, "successful" in await answer.text()) == (200, True)
        async with http.get(address) as answer:
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="Aircheck"')


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n"])
async def test_lines_may_end_without_a_carriage_return(tower: Tower, end: bytes) -> None:
    """DarkIce ends its lines so, all but the last."""
    studio = await tower.air.studio(StudioSource.CLIENT, TOKEN)
    data = await as_file(spoken(5), "-f", "flac")
    head = request(f"Content-Length: {len(data)}", method="PUT").strip().replace(b"\r\n", b"\n") + end
    async with connected(tower.port) as line:
        line.writer.write(head)
        assert await status(line) == 200
        await send(line, data)
        assert await closed(line)
    assert (await tower.air.now(studio)).state is StudioState.OVER
    await whole(tower, studio, spoken(5))


async def test_request_may_come_byte_by_byte(tower: Tower) -> None:
    """A request that arrives in pieces is told from others and read; others that begin alike go their way."""
    await tower.air.studio(StudioSource.CLIENT, TOKEN)
    async with connected(tower.port) as line:
        for byte in request(password="wrong"):
            line.writer.write(bytes([byte]))
            await line.writer.drain()
            await asyncio.sleep(0)
        assert await status(line) == 401
    async with connected(tower.port) as line:
        for part in (b"P", b"UT /studio/sour", b"cery HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"):
            line.writer.write(part)
            await line.writer.drain()
            await asyncio.sleep(0)
        assert await status(line) in (404, 405)


class Line:
    """A transport that notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def pause_reading(self) -> None:
        self.asked.append("pause")

    def resume_reading(self) -> None:
        self.asked.append("resume")


async def test_no_more_is_read_than_may_wait() -> None:
    """A connection whose bytes nobody takes is not read from; it is, when they were taken."""
    line = Line()
    taken = TakenOver(line, b"first")  # type: ignore[arg-type]
    taken.feed(bytes(taken_over.MOST_WAITING))
    taken.feed(b"still in the buffer")
    assert line.asked == ["pause"]
    assert len(await taken.read()) == taken_over.MOST_WAITING + 24
    assert line.asked == ["pause", "resume"]
    taken.end(None)
    assert await taken.read() == b""
