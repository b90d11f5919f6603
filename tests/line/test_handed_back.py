"""Recordings that are handed back as voice messages, on a real homeserver."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from unittest.mock import AsyncMock

import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from bot.audio.voice_message import LEAST_BYTES
from bot.demo.received import Received
from bot.demo.slicing import speech
from bot.demo.verification import Signal, decode
from bot.dialects import voice
from bot.worker.room_history import RoomHistory
from storage import archive
from storage.records import SAMPLE_RATE, EventId, RecordingState, RoomId, UserId
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.world import move_in, recorded, whole_broadcast

SPEECH = speech(1)  # 27 s: more than fits into the smallest file
STEP = 1 / 32_768  # of 16-bit sound


async def heard(messages: Sequence[bytes], folder: Path) -> Signal:
    """Decode files with plain ffmpeg, one behind the other."""
    path, sound = folder / "heard.ogg", []
    for data in messages:
        await asyncio.to_thread(path.write_bytes, data)
        sound.append(await asyncio.to_thread(decode, path, get_ffmpeg_exe()))
    return np.concatenate(sound)


def redacts(event: Received, event_id: str) -> bool:
    return event.type == "m.room.redaction" and event_id in (event.event.get("redacts"), event.content.get("redacts"))


@pytest.mark.parametrize(("encrypted", "parts"), [(True, 1), (False, 2)], ids=["encrypted", "plain"])
async def test_a_recording_is_handed_back_and_goes_with_it(
    world: Worlds, person: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, encrypted: bool, parts: int
) -> None:
    """Another client gets the sound that was broadcast, to the sample, whole or in parts, as voice messages. They are
    redacted with the recording, and never recorded."""
    bot, alice = await world(), await person("alice")
    async with bot.running() as aircheck:
        if parts > 1:
            monkeypatch.setattr(aircheck.session.uploads, "limit", AsyncMock(return_value=LEAST_BYTES))
        room = await move_in(bot, alice, encrypted=encrypted)
        await alice.say(room, "!aircheck replay on")
        await alice.wait_for(lambda event: event.is_notice_of(bot.user_id) and "Replay is on" in event.body)
        speaker = await whole_broadcast(alice, room, SPEECH)
        messages = [
            await alice.wait_for(
                lambda event: event.sender == bot.user_id and "org.aircheck.recording" in event.content
            )
            for _ in range(parts)
        ]
        recording, ledger = await recorded(aircheck.store, speaker.broadcast_id, RecordingState.COMPLETE)
        files = [await alice.open_media(message) for message in messages]
        history = RoomHistory(aircheck.session).referring(
            RoomId(room), EventId(speaker.broadcast_id), UserId(bot.user_id)
        )
        found = [event async for page in history for event in page if voice.handed_back(event)]
        assert {event.event_id for event in found} == {message.event_id for message in messages}
        for message, data in zip(messages, files, strict=True):
            content = dict(message.content)
            assert ("file" in content, "url" in content) == (encrypted, not encrypted)
            sound = content["org.matrix.msc1767.audio"]
            assert 30 <= len(sound["waveform"]) <= 120
            assert (min(sound["waveform"]) >= 0, max(sound["waveform"])) == (True, 1024)
            assert content["msgtype"] == "m.audio"
            assert content["info"] == {"mimetype": "audio/ogg", "duration": sound["duration"], "size": len(data)}
            assert content["org.matrix.msc3245.voice"] == {}
            assert content["m.relates_to"] == {"rel_type": "m.reference", "event_id": speaker.broadcast_id}
            assert content["org.aircheck.recording"] == recording.code
            assert content["body"].endswith(".ogg")
        durations = [message.content["info"]["duration"] for message in messages]
        assert abs(sum(durations) - ledger.samples * 1000 / SAMPLE_RATE) < parts
        sound, truth = await heard(files, tmp_path), await heard(speaker.truth_ogg(), tmp_path)
        assert len(sound) == len(truth) == ledger.samples
        assert np.abs(sound - truth).max() < (STEP if parts > 1 else 1e-9)
        await alice.redact(room, speaker.broadcast_id)
        for message in messages:
            await alice.wait_for(partial(redacts, event_id=message.event_id))
        async with aircheck.store.read() as db:
            assert len(await archive.recordings(db)) == 1
