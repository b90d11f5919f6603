"""`aircheck work`: processes that carry out the jobs of sound beside the bot; any of them may die at any time."""

from pathlib import Path
from typing import Any

import pytest

from bot import orders
from storage import secret
from storage.records import JobState
from tests.many.gate import Gate
from tests.many.town import Process, Town, town, until
from tests.postgresql import Server


async def test_a_worker_takes_what_needs_no_session(postgresql: Server, tmp_path: Path) -> None:
    """A worker fetches, encodes and finishes; it leaves the rest to the bot, and nothing behind when it stops."""
    async with town(postgresql, tmp_path) as here:
        worker = await here.work()
        await here.speak(1, 2, last=True)
        await here.finished()
        left = await here.jobs(JobState.READY)
        assert left
        assert not [kind for kind in left if orders.KINDS[kind].anywhere]
        assert await worker.stop() == 0
        assert list((tmp_path / "data" / "work").iterdir()) == []


@pytest.fixture(scope="module")
async def undisturbed(postgresql: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what comes of the broadcast when one worker does everything and nobody dies."""
    async with town(postgresql, tmp_path_factory.mktemp("undisturbed")) as here:
        await here.work()
        await speak_slowly(here)
        return await here.whole()


async def speak_slowly(here: Town) -> None:
    """Speak for a while live, so that there are jobs of all kinds, then to the end."""
    await here.speak(1, 2)
    await here.encoded()
    await here.end_broadcast(2)


@pytest.mark.long
async def test_a_worker_that_is_killed_loses_and_doubles_nothing(
    postgresql: Server, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    """Killed while it fetches, encodes and finishes, each time with another that goes on: the archive and the episode
    are those of an undisturbed run, to the byte, and nothing is left behind.

    The one that encoded has the last frames in memory, and needs no ffmpeg to finish: another finishes.
    """
    gate = Gate(tmp_path)
    async with town(postgresql, tmp_path, audio={"ffmpeg": str(gate.path)}) as here:
        here.media.opened.clear()
        worker = await here.work()
        await here.speak(1, 2)
        await here.media.asked.wait()  # in the middle of the download
        worker = await replaced(here, worker, orders.Fetch)
        gate.close()
        here.media.opened.set()
        await gate.has_been_reached()  # in the middle of the check
        await worker.kill()
        gate.open()
        await here.expire(worker)
        worker = await here.work()
        await here.encoded()
        await worker.stop()
        worker = await here.work()
        gate.close()
        await here.end_broadcast(2)
        await here.until_running(orders.Finish.kind)
        await gate.has_been_reached()
        worker = await replaced(here, worker, orders.Finish)
        gate.open()
        assert await here.whole() == undisturbed
        assert [folder.name for folder in (tmp_path / "data" / "work").iterdir()] == [(await here.workers())[0].id]
        assert worker.child.returncode is None


async def replaced(here: Town, worker: Process, order: type[orders.Order]) -> Process:
    """Kill a worker that has a job of this kind, and start another, which gets the job only once the lease ended."""
    assert (await here.jobs(JobState.RUNNING))[order.kind]
    await worker.kill()
    other = await here.work()
    assert len(await here.workers()) == 2
    assert (await here.jobs(JobState.RUNNING))[order.kind]
    await here.expire(worker)
    return other


@pytest.mark.long
async def test_a_worker_that_wakes_too_late_writes_nothing(
    postgresql: Server, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    """Paused in the middle of an episode until its lease was over, it finds the episode made by another, and changes
    neither its rows nor its job."""
    gate = Gate(tmp_path)
    async with town(postgresql, tmp_path, audio={"ffmpeg": str(gate.path)}) as here:
        worker = await here.work()
        await here.speak(1, 2)
        await here.encoded()
        await worker.stop()
        worker = await here.work()
        gate.close()
        await here.end_broadcast(2)
        await here.until_running(orders.Finish.kind)
        await gate.has_been_reached()
        worker.pause()
        await here.expire(worker)
        gate.open()
        await here.work()
        whole = await here.whole()
        worker.go_on()
        await worker.says("job was given to another process meanwhile: finish")
        assert await here.whole() == whole == undisturbed


async def test_media_are_fetched_with_the_token_of_now(postgresql: Server, tmp_path: Path) -> None:
    """A token that has ended puts jobs back; with the one of the bot's next login they are done."""
    async with town(postgresql, tmp_path) as here:
        here.media.token = "syt_next"
        worker = await here.work()
        await here.speak(1, last=True)

        async def refused() -> bool:
            return here.media.refused > 0

        await until(refused)
        async with here.world.store.write() as db:
            await secret.save(db, secret.MEDIA_TOKEN, b"syt_next")
        await here.finished()
        assert "syt_" not in worker.log.read_text()


@pytest.mark.parametrize("command", ["web", "work"])
async def test_sqlite_has_one_process(command: str, postgresql: Server, tmp_path: Path) -> None:
    """Without a database by address both commands end with 2 and a sentence that names the setting."""
    async with town(postgresql, tmp_path) as here:
        process = await here.start(command, AIRCHECK_STORAGE__DATABASE_URL="null")
        assert await process.child.wait() == 2
        assert process.log.read_text().startswith("storage.database_url: ")
        assert len(process.log.read_text().splitlines()) == 1
