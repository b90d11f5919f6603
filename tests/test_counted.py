"""The counts of the program: what they are called, and that things are counted where they happen."""

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from bot import counted, orders
from bot.audio.child import running
from bot.audio.limits import Limits
from bot.errors import GiveUp, TryLater
from bot.matrix.keys import Keys
from bot.matrix.media import Media
from bot.matrix.poll import Poll
from bot.matrix.upkeep import Upkeep
from bot.matrix.wire import Wire
from bot.web.library import Library
from bot.worker.attempts import Attempts
from storage import counted as of_storage
from storage import jobs
from storage.errors import MediaStoreError, StoreBusyError
from storage.place import Place
from storage.records import Job, MediaSource, MxcUri, NewJob, UserId, Visibility
from storage.store import Store
from storage.tally import Count, Durations
from tests.connections import connected
from tests.web.world import world_of

ALL = (*counted.ALL, *of_storage.ALL)


def state(of: Count | Durations) -> dict[tuple[str, ...], float]:
    """Return how often something was counted."""
    if isinstance(of, Count):
        return of.copy()
    return {labels: sum(ranges) for labels, (ranges, _) in of.copy().items()}


@contextmanager
def grown(of: Count | Durations) -> Iterator[Callable[[], dict[tuple[str, ...], float]]]:
    """Yield what tells by how much a count has grown in the block."""
    before = state(of)
    yield lambda: {labels: more for labels, now in state(of).items() if (more := now - before.get(labels, 0))}


@pytest.mark.parametrize("of", ALL, ids=lambda of: of.name)
def test_names_follow_prometheus(of: Count | Durations) -> None:
    """A count's name ends with `_total`, that of durations with `_seconds`; each has a sentence, and explains its
    labels but for `kind`, which is a kind of job."""
    assert re.fullmatch(r"aircheck_[a-z_]+", of.name)
    assert of.name.endswith("_total" if isinstance(of, Count) else "_seconds")
    assert of.meaning.endswith(".")
    for label in of.labels:
        assert label == "kind" or f"`{label}`" in of.meaning or of in (counted.CHILD_S, counted.REQUEST_S)


@pytest.mark.parametrize("of", [of for of in ALL if isinstance(of, Count)], ids=lambda of: of.name)
def test_counts_begin_at_nothing(of: Count) -> None:
    """Each count has a value from the start for each of the label values that it explains, but for kinds of job."""
    assert [label for label in of.labels if label not in of.known] == ["kind"] * (of is counted.JOBS)
    values = {value for known in of.known.values() for value in known}
    if values:
        assert values - {"3xx", "4xx"} == {*re.findall(r"`(\w+)`", of.meaning)} - {*of.labels}


def test_names_are_given_once() -> None:
    """No two counts have one name, and every count of a module is in its list."""
    assert len({of.name for of in ALL}) == len(ALL)
    for module in (counted, of_storage):
        assert {of for of in vars(module).values() if isinstance(of, Count | Durations)} == set(module.ALL)


async def test_attempts_at_jobs(tmp_path: Path) -> None:
    """Each attempt at a job counts by its kind and its outcome, with its length."""

    async def handle(job: Job) -> None:
        if job.subject == "later":
            raise TryLater("not now")
        if job.subject == "never":
            raise GiveUp("no", reason="forbidden")

    store = await Store.own(Place(tmp_path))
    attempts = Attempts(store, {orders.Tick.kind: handle}, lambda: datetime.now(UTC), asyncio.Event())
    with grown(counted.JOBS) as outcomes, grown(counted.JOB_S) as lengths:
        for subject in ("now", "later", "never"):
            async with store.write() as db:
                await jobs.add(db, NewJob(orders.Tick.kind, subject, {}), datetime.now(UTC))
                (job,) = await jobs.claim(db, [orders.Tick.kind], datetime.now(UTC), 1)
            await attempts.make(job)
    await store.close()
    assert outcomes() == {("tick", outcome): 1 for outcome in ("done", "later", "given_up")}
    assert lengths() == {("tick",): 3}


async def test_transactions(tmp_path: Path) -> None:
    """Each transaction is counted with its length; one for writing with its wait for the one before it, too."""
    store = await Store.own(Place(tmp_path))
    with grown(of_storage.READS) as reads, grown(of_storage.WRITES) as writes, grown(of_storage.WRITE_WAITS) as waits:
        async with store.read():
            pass
        for _ in range(2):
            async with store.write():
                pass
    await store.close()
    assert (reads(), writes(), waits()) == ({(): 1}, {(): 2}, {(): 2})


@pytest.mark.parametrize(
    ("command", "outcome"), [("exit 0", "done"), ("exit 3", "failed"), ("exec sleep 600", "stopped")]
)
async def test_runs_of_ffmpeg(command: str, outcome: str) -> None:
    """Each child counts by its work and by how it ended."""
    with grown(counted.CHILDREN) as runs:
        async with running(["/bin/sh", "-c", command], Limits(cpu_s=5, wait_s=20), work="decode") as child:
            if outcome != "stopped":
                await child.end()
    assert runs() == {("decode", outcome): 1}


@pytest.mark.parametrize("answer", [{"next_batch": "t1"}, {}, {"next_batch": 1}])
async def test_requests_to_sync(answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request to /sync counts once: an answer without a token has failed."""
    wire = Wire("http://127.0.0.1:1")

    async def call(*_: Any, **__: Any) -> dict[str, Any]:
        return answer

    monkeypatch.setattr(wire, "call", call)
    keys, upkeep = Mock(spec=Keys), Mock(spec=Upkeep)
    keys.new_sessions.return_value = keys.signals.return_value = ()
    poll = Poll(wire, keys, upkeep, UserId("@bot:hs"), lambda: datetime.now(UTC))
    with grown(counted.SYNCS) as requests, nullcontext() if answer == {"next_batch": "t1"} else pytest.raises(TryLater):
        await poll.hear(None, wait=True)
    await wire.close()
    assert requests() == {("answered" if answer == {"next_batch": "t1"} else "failed",): 1}


async def test_the_homeserver_that_is_away(tmp_path: Path) -> None:
    """A request and a download that got no answer count as such."""
    wire = Wire("http://127.0.0.1:1")
    wire.token = "token"
    with grown(counted.HOMESERVER) as requests, grown(counted.DOWNLOADS) as downloads:
        with pytest.raises(TryLater):
            await wire.call("GET", "/_matrix/client/versions")
        with pytest.raises(TryLater):
            await Media(wire).fetch_media(MediaSource(MxcUri("mxc://hs/abc")), tmp_path / "part", max_bytes=10)
    await wire.close()
    assert (requests(), downloads()) == ({("failed",): 1}, {("later",): 1})


async def test_requests_of_listeners(tmp_path: Path) -> None:
    """Each answer of the web server counts by its route and status, also one that was kept; rendering counts once."""
    async with world_of(tmp_path) as (world, client):
        room = await world.room(visibility=Visibility.PUBLIC)
        await world.episode(await world.recording(room))
        with grown(counted.REQUESTS) as answers, grown(counted.RENDERS) as renders:
            for path in (f"/r/{room.key}/feed.xml", f"/r/{room.key}/feed.xml", "/nothing"):
                async with client.get(path) as answer:
                    await answer.read()
        assert answers() == {("feed", "2xx"): 2, ("other", "4xx"): 1}
        assert renders() == {(): 1}


async def test_requests_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that are no HTTP count as answered, and so do those that a store could not serve at that moment, which
    are asked to come back."""
    async with world_of(tmp_path) as (world, client):
        with grown(counted.REQUESTS) as answers:
            async with connected(world.server.port) as (reader, writer):
                writer.write(b"no HTTP at all\r\n\r\n")
                assert (await reader.read()).startswith(b"HTTP/1.0 400 ")
        assert answers() == {("other", "4xx"): 1}
        room = await world.room(visibility=Visibility.PUBLIC)
        for error in (MediaStoreError("the media store is away"), StoreBusyError("the database is away")):
            monkeypatch.setattr(Library, "view", AsyncMock(side_effect=error))
            with grown(counted.REQUESTS) as answers, grown(counted.REQUEST_S) as lengths:
                async with client.get(f"/r/{room.key}/", headers={"Accept": "text/html"}) as answer:
                    assert (answer.status, answer.headers["Retry-After"]) == (503, "30")
                    assert "try again in half a minute" in await answer.text()
            assert (answers(), lengths()) == ({("page", "5xx"): 1}, {("page",): 1})
