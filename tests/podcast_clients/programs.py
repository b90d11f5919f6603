"""Podcast programs of other people, each driven through its command line in a home of its own.

`make test-clients` installs them. Most of them return 0 whatever happens: tests look at the files and at what the
server was asked.
"""

import asyncio
import os
import pty
import shutil
import signal
from abc import ABC, abstractmethod
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

FOLDER = Path(__file__).parent
PROGRAMS = FOLDER.parent.parent / "build" / "podcast_programs"
IN_PROGRAMS = (PROGRAMS / "venv" / "bin", PROGRAMS / "castget" / "bin")
PATH = os.pathsep.join([*map(str, IN_PROGRAMS), os.environ.get("PATH", os.defpath)])
WITHIN_S = 90.0


def installed(program: str) -> str | None:
    return shutil.which(program, path=PATH)


class Home:
    """A home for one program, in which its commands are run."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.downloads = home / "downloads"
        self.downloads.mkdir(parents=True)
        self.said = ""

    async def run(self, *command: str, within: float = WITHIN_S) -> str:
        """Run a command to its end, and return what it printed. Raises TimeoutError, having ended it."""
        async with self.running(*command) as process:
            async with asyncio.timeout(within):
                out, _ = await process.communicate()
        self.said = out.decode(errors="replace")
        return self.said

    @asynccontextmanager
    async def running(self, *command: str, terminal: int | None = None) -> AsyncIterator[Process]:
        """Start a command, in a terminal or with its output piped; at the end it and all that it started is killed."""
        program = installed(command[0])
        assert program is not None, f"{command[0]} is not installed"
        out = asyncio.subprocess.PIPE if terminal is None else terminal
        process = await asyncio.create_subprocess_exec(
            program,
            *command[1:],
            env=self.environment(),
            cwd=self.home,
            stdin=asyncio.subprocess.DEVNULL if terminal is None else terminal,
            stdout=out,
            stderr=asyncio.subprocess.STDOUT if terminal is None else terminal,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    def environment(self) -> dict[str, str]:
        return {
            "PATH": PATH,
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "no_proxy": "*",
            "GPODDER_HOME": str(self.home / "gpodder"),
            "GPODDER_DOWNLOAD_DIR": str(self.downloads),
        }


class Program(Home, ABC):
    """A podcast client with a folder for its downloads. `feed` is what it subscribes to."""

    name: str
    needs: tuple[str, ...]
    """The commands of it that have to be installed."""
    asks_conditionally = False
    """Whether it sends If-None-Match or If-Modified-Since when it looks at a feed again."""
    resumes = True
    """Whether it goes on with a download that broke off."""
    looks_into_sound = False
    """Whether it asks for the beginning of each episode each time."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.feed = ""

    @abstractmethod
    async def subscribe(self, feed: str) -> None:
        """Subscribe to a feed."""

    async def subscribe_until(self, feed: str, event: asyncio.Event) -> None:
        """Subscribe to a feed, and kill the program when something happens."""
        subscribing = asyncio.create_task(self.subscribe(feed))
        happens = asyncio.create_task(event.wait())
        await asyncio.wait({subscribing, happens}, return_when=asyncio.FIRST_COMPLETED)
        happens.cancel()
        subscribing.cancel()  # which kills what runs
        await asyncio.gather(subscribing, happens, return_exceptions=True)

    @abstractmethod
    async def update(self) -> None:
        """Look at the feed again and download what is new."""

    @abstractmethod
    def resuming(self) -> Sequence[str]:
        """Return the command that goes on with an interrupted download."""

    async def resume(self) -> None:
        await self.run(*self.resuming())

    def episodes(self) -> dict[str, bytes]:
        """Return the files that it takes for episodes, by name."""
        found = (path for path in self.downloads.rglob("*") if path.is_file() and not self.is_a_note(path))
        return {path.name: path.read_bytes() for path in found}

    def is_a_note(self, path: Path) -> bool:
        """Return whether a file among the downloads is no episode: a picture, a playlist, an unfinished download."""
        return path.suffix in {".jpg", ".m3u", ".partial", ".part"} or ".LOG" in path.parts


class Gpodder(Program):
    """gPodder's command line."""

    name = "gpo"
    needs = ("gpo",)
    asks_conditionally = True

    async def subscribe(self, feed: str) -> None:
        self.feed = feed
        await self.run("gpo", "subscribe", feed)
        await self.run("gpo", "download", feed)

    async def update(self) -> None:
        await self.run("gpo", "update")
        await self.run("gpo", "download")

    def resuming(self) -> Sequence[str]:
        return ("gpo", "resume")


class Castget(Program):
    """A downloader in C, on libcurl and libxml2."""

    name = "castget"
    needs = ("castget",)

    async def subscribe(self, feed: str) -> None:
        self.feed = feed
        (self.home / "rc").write_text(f"[*]\nspool={self.downloads}\n\n[lab]\nurl={feed}\n")
        await self.update()

    async def update(self) -> None:
        await self.run("castget", "-C", str(self.home / "rc"), "lab")

    def resuming(self) -> Sequence[str]:
        return ("castget", "-C", str(self.home / "rc"), "-r", "lab")


class Podget(Program):
    """A downloader in Bash, on wget."""

    name = "podget"
    needs = ("podget",)

    def is_a_note(self, path: Path) -> bool:
        """Count the playlist of a live item as none: podget downloads whatever an `enclosure` names."""
        return path.suffix == ".m3u8" or super().is_a_note(path)

    async def subscribe(self, feed: str) -> None:
        self.feed = feed
        await self.run(*self._podget("--create-config", "podgetrc"))
        (self.home / "conf" / "serverlist").write_text(f"{feed} radio kitchen\n")
        await self.update()

    async def update(self) -> None:
        await self.run(*self._podget("-c", "podgetrc", "-v"))

    def resuming(self) -> Sequence[str]:
        return self._podget("-c", "podgetrc", "-v")

    def _podget(self, *options: str) -> Sequence[str]:
        return ("podget", "-d", str(self.home / "conf"), "-l", str(self.downloads), *options)


class Newsboat(Program):
    """A feed reader in the terminal, and podboat, which downloads what it queued."""

    name = "newsboat"
    needs = ("newsboat", "podboat")
    asks_conditionally = True

    async def subscribe(self, feed: str) -> None:
        self.feed = feed
        (self.home / ".newsboat").mkdir()
        (self.home / "urls").write_text(f"{feed}\n")
        (self.home / "config").write_text(
            f'podcast-auto-enqueue yes\ndownload-path "{self.downloads}/"\nmax-downloads 20\n'
        )
        await self.update()

    async def update(self) -> None:
        await self.run(*self._newsboat("reload"))
        await self.resume()

    def resuming(self) -> Sequence[str]:
        return ("podboat", "-C", str(self.home / "config"), "-q", str(self._queue), "-a")

    async def resume(self) -> None:
        """Run podboat in a terminal, and press q when it has done all that is queued: it never ends by itself."""
        if not self._queue.exists():
            return
        lines = self._queue.read_text().splitlines()  # before it writes the file anew
        queued = [line.split()[1].strip('"') for line in lines if line]
        ours, its = pty.openpty()
        screen, chosen = b"", False

        def look() -> None:
            nonlocal screen, chosen
            try:
                screen += os.read(ours, 65536)
            except OSError:  # podboat has closed it
                loop.remove_reader(ours)
                return
            if b"incomplete" in screen and not chosen:  # it goes on with those only when told to
                os.write(ours, b"d")
                chosen = True
            if b"fail" in screen or all(map(os.path.exists, queued)):
                os.write(ours, b"q")

        loop = asyncio.get_running_loop()
        loop.add_reader(ours, look)
        try:
            async with self.running(*self.resuming(), terminal=its) as podboat, asyncio.timeout(WITHIN_S):
                await podboat.wait()
        finally:
            loop.remove_reader(ours)
            os.close(its)
            os.close(ours)
            self.said = screen.decode(errors="replace")

    @property
    def _queue(self) -> Path:
        return self.home / ".newsboat" / "queue"

    def _newsboat(self, order: str) -> Sequence[str]:
        home = self.home
        return (
            *("newsboat", "-u", str(home / "urls"), "-C", str(home / "config")),
            *("-c", str(home / "cache.db"), "-x", order),
        )


class Greg(Program):
    """A downloader in Python, on feedparser and urllib."""

    name = "greg"
    needs = ("greg",)
    resumes = False

    async def subscribe(self, feed: str) -> None:
        self.feed = feed
        (self.home / "greg.conf").write_text(
            f"[DEFAULT]\ndownload directory = {self.downloads}\nfirstsync = all\ncreate_subdirectories = no\n"
        )
        await self.run(*self._greg("add", "lab", feed))
        await self.update()

    async def update(self) -> None:
        await self.run(*self._greg("sync"))

    def resuming(self) -> Sequence[str]:
        return self._greg("sync")

    def _greg(self, *order: str) -> Sequence[str]:
        home = self.home
        return ("greg", "--configfile", str(home / "greg.conf"), "--datadirectory", str(home / "data"), *order)


class YtDlp(Program):
    """A downloader of everything, which takes a feed for a list of videos."""

    name = "yt-dlp"
    needs = ("yt-dlp",)
    looks_into_sound = True

    async def subscribe(self, feed: str) -> None:
        self.feed = feed
        await self.update()

    async def update(self) -> None:
        await self.run(*self.resuming())

    def resuming(self) -> Sequence[str]:
        output = str(self.downloads / "%(id)s.%(ext)s")
        return ("yt-dlp", "--ignore-config", "--fixup", "never", "--no-mtime", "-o", output, self.feed)


PODCASTERS: tuple[type[Program], ...] = (Gpodder, Castget, Podget, Newsboat, Greg, YtDlp)


class Mpv(Home):
    """A player, here without picture and loudspeaker."""

    async def play(self, address: str, *options: str) -> str:
        """Play an address to its end, and return what mpv printed."""
        return await self.run("mpv", "--no-config", "--no-video", "--ao=null", *options, address)
