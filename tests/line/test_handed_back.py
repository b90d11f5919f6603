"""Recordings that are handed back as voice messages, on a real homeserver."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from bot.demo.people import Person
from bot.demo.received import Received
from bot.demo.slicing import speech
from bot.demo.verification import Signal, decode
from storage import archive
from storage.records import SAMPLE_RATE, RecordingState
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.world import World, move_in, recorded, whole_broadcast

SPEECH = speech(1)[:600]  # 12 s


async def handed_back(world: World, host: Person) -> Received:
    return await host.wait_for(
        lambda event: event.sender == world.user_id and "org.aircheck.recording" in event.content
    )


async def heard(data: bytes, folder: Path) -> Signal:
    """Decode a file with plain ffmpeg."""
    path = folder / "heard.ogg"
    await asyncio.to_thread(path.write_bytes, data)
    return await asyncio.to_thread(decode, path, get_ffmpeg_exe())


@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "plain"])
async def test_a_recording_is_handed_back_and_goes_with_it(
    world: Worlds, person: People, tmp_path: Path, *, encrypted: bool
) -> None:
    """Another client gets one voice message, to the bit the sound that was broadcast. It is redacted with the recording
    and never recorded."""
    bot, alice = await world(), await person("alice")
    async with bot.running() as aircheck:
        room = await move_in(bot, alice, encrypted=encrypted)
        await alice.say(room, "!aircheck replay on")
        await alice.wait_for(lambda event: event.is_notice_of(bot.user_id) and "Replay is on" in event.body)
        speaker = await whole_broadcast(alice, room, SPEECH)
        message = await handed_back(bot, alice)
        recording, ledger = await recorded(aircheck.store, speaker.broadcast_id, RecordingState.COMPLETE)
        data = await alice.open_media(message)
        duration = round(ledger.samples * 1000 / SAMPLE_RATE)
        content = dict(message.content)
        assert ("file" in content, "url" in content) == (encrypted, not encrypted)
        waveform = content["org.matrix.msc1767.audio"]["waveform"]
        assert 30 <= len(waveform) <= 120
        assert max(waveform) == 1024
        assert min(waveform) >= 0
        assert content["org.matrix.msc1767.audio"]["duration"] == duration
        assert content["msgtype"] == "m.audio"
        assert content["info"] == {"mimetype": "audio/ogg", "duration": duration, "size": len(data)}
        assert content["org.matrix.msc3245.voice"] == {}
        assert content["m.relates_to"] == {"rel_type": "m.reference", "event_id": speaker.broadcast_id}
        assert content["org.aircheck.recording"] == recording.code
        assert content["body"].endswith(".ogg")
        (truth,) = speaker.truth_ogg()
        assert np.array_equal(await heard(data, tmp_path), await heard(truth, tmp_path))
        await alice.redact(room, speaker.broadcast_id)
        await alice.wait_for(
            lambda event: (
                event.type == "m.room.redaction"
                and message.event_id in (event.event.get("redacts"), event.content.get("redacts"))
            )
        )
        async with aircheck.store.read() as db:
            assert len(await archive.recordings(db)) == 1
