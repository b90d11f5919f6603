"""Calls with a whole bot on a real homeserver: callers that signal as matrix-js-sdk does, with real media."""

import asyncio

from bot.demo.slicing import speech
from storage import calls
from storage.records import CallProtocol, Recording, RecordingState, RoomId
from tests.calls.caller import Caller, begin_call, open_to_calls
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.world import move_in, until, welcome


async def test_a_call(world: Worlds, person: People) -> None:
    """..."""
    bot = await world(calls={"empty_s": 2})
    aaron, zoe = await person("aaron"), await person("zoe")
    async with bot.running() as aircheck:
        room = await move_in(bot, aaron, encrypted=True)
        await aaron.set_power(room, {bot.user_id: 50})
        await open_to_calls(aaron, room)
        await welcome(zoe, aaron, room)
        await aaron.say(room, "!aircheck record calls on")
        call_id = await begin_call(aaron, room)
        packets = speech(1)
        one = Caller(aaron, room, call_id, bot.user_id, sealed=True, packets=packets)
        two = Caller(zoe, room, call_id, bot.user_id, sealed=True, packets=packets[200:])
        async with one.running(), two.running():
            async with asyncio.timeout(20):
                await one.connected.wait()
                await two.connected.wait()
            await asyncio.sleep(5)
            await two.leave()
            await asyncio.sleep(2)
            await begin_call(aaron, room, call_id=call_id, terminated="over")

        async def done() -> Recording | None:
            async with aircheck.store.read() as db:
                last = await calls.last(db, RoomId(room), CallProtocol.MSC3401, call_id)
            return last if last and last.state is RecordingState.COMPLETE else None

        recording = await until(aircheck.store, done, 20)
        assert {stem.user_id for stem in recording.stems} == {aaron.user_id, zoe.user_id}
