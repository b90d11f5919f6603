"""Events that Element Web, Android and iOS send."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bot.dialects import read
from bot.recording.model import (
    BroadcastChanged,
    BroadcastStarted,
    Change,
    ChunkSent,
    Redacted,
    Rejected,
    VoiceMessage,
)
from storage.records import EventId, HeardEvent, RoomId
from tests.recording.world import DATA, captured

ALICE = "@alice:hs"
EXAMPLES = json.loads((DATA / "examples.json").read_text())
KEY = "igUt40iYhYZLZjyNaxTWTvsTESMozKUJaGrOEJkaVOk"
FILE = {
    "v": "v2",
    "url": "mxc://hs/id",
    "key": {"alg": "A256CTR", "kty": "oct", "k": KEY, "ext": True, "key_ops": ["encrypt", "decrypt"]},
    "iv": "qNRDSG4h64gAAAAAAAAAAA",
    "hashes": {"sha256": "RRts/r/hcoUtD0THwAGgezqDC24DICNsUtJuaqz3EPw"},
}


def heard(event: dict[str, Any], **how: Any) -> HeardEvent:
    whole = {"sender": ALICE, "origin_server_ts": 1_795_167_651_847, **event}
    return HeardEvent(RoomId("!r:hs"), EventId("$event"), whole, **how)


def info(content: dict[str, Any], **event: Any) -> HeardEvent:
    return heard({"type": "io.element.voice_broadcast_info", "state_key": ALICE, "content": content, **event})


def chunk(**content: Any) -> HeardEvent:
    example = EXAMPLES["web_chunk_plain"]
    return heard({**example, "content": {**example["content"], **content}})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", ["started", 1, 2, 3, "paused", "resumed", 4, 5, "stopped"]),
        ("encrypted", ["started", 1, 2, 3, "paused", "resumed", 4, 5, "stopped"]),
        (
            "pauses",
            ["started", 1, "paused", "resumed", 2, 3, "paused", "resumed", 4, "paused", "resumed", 5, "stopped"],
        ),
        ("kill", ["started", 1, 2]),
        ("slowstop", ["started", 1, "stopped", 2]),
        ("redact", [1, 2, 3, "stopped", "redacted"]),
    ],
)
def test_captures_are_read_in_full(name: str, expected: list[object]) -> None:
    """Every event of a real Element Web's broadcast is read, and none of the room's others."""
    found: list[object] = []
    for each in captured(name)[0]:
        match read(each):
            case BroadcastStarted():
                found.append("started")
            case BroadcastChanged(change=change):
                found.append(str(change))
            case ChunkSent(sequence=sequence):
                found.append(sequence)
            case Redacted():
                found.append("redacted")
            case Rejected(rule=rule):
                found.append(rule)
    assert found == expected


def test_chunk_of_a_clear_room() -> None:
    """A chunk in a clear room has its address, number, length and size."""
    event = read(heard(EXAMPLES["web_chunk_plain"]))
    assert isinstance(event, ChunkSent)
    assert (event.broadcast, event.sender, event.sequence) == ("$start", ALICE, 1)
    assert (event.source.mxc, event.source.file) == ("mxc://hs/id", None)
    assert (event.announced_ms, event.announced_bytes) == (120_000, 392_000)
    assert event.sent_at == datetime(2026, 11, 20, 9, 40, 51, 847_000, UTC)


def test_chunk_of_an_encrypted_room() -> None:
    """A decrypted chunk has its key, and its relation comes from the wrapper when the content has none."""
    event = read(
        heard(
            {"type": "m.room.message", "content": {**EXAMPLES["web_chunk_decrypted"]["content"], "file": FILE}},
            encrypted=True,
            clear_relation={"rel_type": "m.reference", "event_id": "$start"},
        )
    )
    assert isinstance(event, ChunkSent)
    assert event.source.file is not None
    assert (event.broadcast, event.sequence, event.source.file.key) == ("$start", 2, KEY)


def test_wrapper_is_believed_before_the_content() -> None:
    """If wrapper and content name different broadcasts, the wrapper's counts."""
    event = read(
        heard(EXAMPLES["web_chunk_plain"], encrypted=True, clear_relation={"rel_type": "m.reference", "event_id": "$w"})
    )
    assert isinstance(event, ChunkSent)
    assert event.broadcast == "$w"


def test_android_and_ios_chunks() -> None:
    """Android's and iOS's chunks are read, although iOS has the length in another field."""
    android, ios = read(heard(EXAMPLES["android_chunk_plain"])), read(heard(EXAMPLES["ios_chunk_plain"]))
    assert isinstance(android, ChunkSent)
    assert isinstance(ios, ChunkSent)
    assert (android.sequence, android.announced_ms) == (2, 119_900)
    assert (ios.sequence, ios.announced_ms) == (2, 120_042)


def test_started_of_all_clients() -> None:
    """A started event gives the device, whatever else it holds."""
    for name in ("web_started", "android_started"):
        event = read(info(EXAMPLES[name]["content"]))
        assert isinstance(event, BroadcastStarted)
        assert (event.sender, event.device_id) == (ALICE, "DEV")


@pytest.mark.parametrize(
    ("name", "change", "last"),
    [
        ("web_paused", Change.PAUSED, 3),
        ("web_resumed", Change.RESUMED, 3),
        ("web_stopped", Change.STOPPED, 7),
        ("web_stopped_after_crash", Change.STOPPED, None),
        ("android_stopped", Change.STOPPED, 7),
    ],
)
def test_changes(name: str, change: Change, last: int | None) -> None:
    """Paused, resumed and stopped name their broadcast and the last number, if they have one."""
    event = read(info(EXAMPLES[name]["content"]))
    assert isinstance(event, BroadcastChanged)
    assert (event.broadcast, event.change, event.last_sequence) == ("$start", change, last)


def test_running_is_resumed() -> None:
    """The state's name of 2022 is understood."""
    event = read(info({**EXAMPLES["web_resumed"]["content"], "state": "running"}))
    assert isinstance(event, BroadcastChanged)
    assert event.change is Change.RESUMED


@pytest.mark.parametrize("last", [0, -1, "3", True, None, 1.5, float("nan"), 10**30, [], {}])
def test_last_number_that_is_none(last: object) -> None:
    """0, and anything that is no number, counts as no last number."""
    event = read(info({**EXAMPLES["web_stopped"]["content"], "last_chunk_sequence": last}))
    assert isinstance(event, BroadcastChanged)
    assert event.last_sequence is None


@pytest.mark.parametrize("number", [0, -3, True, "1", 1.5, float("inf"), 10**18, None, {}, [1]])
def test_chunk_without_a_valid_number(number: object) -> None:
    """A chunk with an invalid number is a chunk without a number."""
    event = read(chunk(**{"io.element.voice_broadcast_chunk": {"sequence": number}}))
    assert isinstance(event, ChunkSent)
    assert event.sequence is None


def test_whole_float_is_a_number() -> None:
    """`3.0` is the integer 3, as it is for the clients."""
    event = read(chunk(**{"io.element.voice_broadcast_chunk": {"sequence": 3.0}}))
    assert isinstance(event, ChunkSent)
    assert event.sequence == 3


@pytest.mark.parametrize("junk", [None, True, "5600", -1, float("nan"), float("inf"), 10**40, {}, []])
def test_hints_that_are_junk_are_left_out(junk: object) -> None:
    """A chunk whose length or size is junk is valid without them."""
    event = read(chunk(info={"duration": junk, "size": junk}, **{"org.matrix.msc1767.audio": {"duration": junk}}))
    assert isinstance(event, ChunkSent)
    assert (event.announced_ms, event.announced_bytes) == (None, None)


@pytest.mark.parametrize(
    ("event", "rule"),
    [
        (info({"state": "started"}, state_key="@bob:hs"), "state_key"),
        (heard({"type": "io.element.voice_broadcast_info", "content": {"state": "started"}}), "state_key"),
        (info(EXAMPLES["web_stopped"]["content"], state_key=""), "state_key"),
        (info({"state": "finished"}), "state"),
        (info({"state": ["started"]}), "state"),
        (info({"state": "stopped"}), "relation"),
        (info({"state": "stopped", "m.relates_to": {"rel_type": "m.thread", "event_id": "$s"}}), "relation"),
        (info({"state": "stopped", "m.relates_to": {"rel_type": "m.reference", "event_id": "s"}}), "relation"),
        (info({"state": "stopped", "m.relates_to": [1]}), "relation"),
        (heard({"type": "io.element.voice_broadcast_info", "state_key": ALICE, "content": 5}), "content"),
        (info({"state": "started"}, sender=7, state_key=7), "sender"),
        (chunk(**{"m.relates_to": None}), "relation"),
        (chunk(msgtype="m.file"), "msgtype"),
        (chunk(**{"io.element.voice_broadcast_chunk": 3}), "marker"),
        (chunk(url=None), "url"),
        (chunk(url="https://hs/id"), "url"),
        (chunk(url="mxc://hs/a b"), "url"),
        (chunk(url="mxc://" + "a" * 5000), "url"),
        (chunk(url=["mxc://hs/id"]), "url"),
        (chunk(file="mxc://hs/id"), "file"),
        (chunk(file={**FILE, "v": "v1"}), "file"),
        (chunk(file={**FILE, "url": "http://hs/id"}), "file"),
        (chunk(file={**FILE, "iv": "AAAA"}), "file"),
        (chunk(file={**FILE, "iv": 3}), "file"),
        (chunk(file={**FILE, "key": {**FILE["key"], "alg": "A128CTR"}}), "file"),  # type: ignore[dict-item]
        (chunk(file={**FILE, "key": {**FILE["key"], "k": KEY[:-2]}}), "file"),  # type: ignore[dict-item]
        (chunk(file={**FILE, "key": {**FILE["key"], "k": "!" * 43}}), "file"),  # type: ignore[dict-item]
        (chunk(file={**FILE, "hashes": {}}), "file"),
        (chunk(file={**FILE, "hashes": {"sha256": "é" * 43}}), "file"),
    ],
)
def test_rejections_are_named(event: HeardEvent, rule: str) -> None:
    """An invalid part of a broadcast is rejected under the rule that it breaks."""
    assert read(event) == Rejected(rule, "element")


def test_encrypted_state_is_a_forgery() -> None:
    """An info event out of an encrypted payload is rejected, since no homeserver checked it."""
    forged = {"type": "io.element.voice_broadcast_info", "state_key": ALICE, "content": {"state": "started"}}
    assert read(heard(forged, encrypted=True)) == Rejected("encrypted_state", "element")


@pytest.mark.parametrize(
    "event",
    [
        {"type": "m.room.message", "content": {"msgtype": "m.notice", "body": "hello"}},
        {"type": "m.room.message", "content": {"msgtype": "m.audio", "url": "mxc://hs/id"}},
        {"type": "m.room.message", "content": {}},
        {"type": "m.room.message", "content": "junk"},
        {"type": "m.room.message"},
        {"type": "m.call.invite", "content": {}},
        {"type": "io.element.voice_broadcast_info", "state_key": ALICE, "content": {}},
        {"type": ["m.room.message"], "content": {}},
        {},
    ],
)
def test_what_is_not_about_broadcasts(event: dict[str, Any]) -> None:
    """Notices, audio files, calls and redacted broadcast events say nothing."""
    assert read(heard(event)) is None


def voice(content: dict[str, Any] | None = None, *, without: tuple[str, ...] = (), **how: Any) -> HeardEvent:
    """Return a chunk as a client sends it again, without marker and relation."""
    gone = ("io.element.voice_broadcast_chunk", "m.relates_to", *without)
    kept = {name: value for name, value in EXAMPLES["web_chunk_plain"]["content"].items() if name not in gone}
    return heard({"type": "m.room.message", "content": kept | (content or {})}, **how)


@pytest.mark.parametrize("marker", ["org.matrix.msc3245.voice", "m.voice"])
def test_a_voice_message_is_told_as_what_it_is(marker: str) -> None:
    """A voice message has a sender and media, and no broadcast, in clear and in encrypted rooms."""
    event = read(voice({marker: {}}, without=("org.matrix.msc3245.voice",)))
    assert isinstance(event, VoiceMessage)
    assert (event.sender, event.source.mxc, event.source.file) == (ALICE, "mxc://hs/id", None)
    assert (event.announced_ms, event.announced_bytes) == (120_000, 392_000)
    assert event.sent_at == datetime(2026, 11, 20, 9, 40, 51, 847_000, UTC)
    sealed = read(voice({"file": FILE, marker: {}}, without=("url", "org.matrix.msc3245.voice"), encrypted=True))
    assert isinstance(sealed, VoiceMessage)
    assert sealed.source.file is not None
    assert sealed.source.file.key == KEY


THREAD = {"rel_type": "m.thread", "event_id": "$root"}


@pytest.mark.parametrize(
    ("event", "thread"),
    [
        (voice({"m.relates_to": {"m.in_reply_to": {"event_id": "$e"}}}), None),
        (voice({"m.relates_to": THREAD}), "$root"),
        (voice({"m.relates_to": THREAD | {"m.in_reply_to": {"event_id": "$e"}}}), "$root"),
        (voice({"m.relates_to": {"rel_type": "m.reference", "event_id": "$e"}}), None),
        (voice(encrypted=True, clear_relation=THREAD), "$root"),
        (voice({"m.relates_to": THREAD | {"event_id": 7}}), None),
    ],
)
def test_related_voice_message(event: HeardEvent, thread: str | None) -> None:
    """An answer, or a part of a thread, is a voice message, but none that stands for itself."""
    message = read(event)
    assert isinstance(message, VoiceMessage)
    assert (message.thread, message.plain) == (thread, False)


@pytest.mark.parametrize(
    "event",
    [
        voice({"m.relates_to": {"rel_type": "m.replace", "event_id": "$e"}}),
        voice(encrypted=True, clear_relation={"rel_type": "m.replace", "event_id": "$e"}),
        voice(without=("org.matrix.msc3245.voice",)),
        voice({"org.aircheck.recording": "kfmtra"}),
        voice({"file": FILE, "org.aircheck.recording": None}, without=("url",), encrypted=True),
        voice({"msgtype": "m.file"}),
        voice({"msgtype": "m.video"}),
        voice({"msgtype": ["m.audio"]}),
        voice(without=("url",)),
        voice({"url": "https://hs/id"}),
        voice({"file": {"v": "v1"}}),
        replace(voice(), event={**voice().event, "sender": 7}),
    ],
)
def test_what_is_no_voice_message_by_itself(event: HeardEvent) -> None:
    """An edit, an audio file, a message without usable media, or a recording that an Aircheck handed back is no voice
    message."""
    assert read(event) is None


def test_keys_come_in_one_form() -> None:
    """Base64 is read with any padding and alphabet, and comes out without padding."""
    event = read(chunk(file={**FILE, "iv": FILE["iv"] + "==", "hashes": {"sha256": "_" * 42 + "8="}}))  # type: ignore[operator]
    assert isinstance(event, ChunkSent)
    assert event.source.file is not None
    assert (event.source.file.iv, event.source.file.sha256) == (FILE["iv"], "/" * 42 + "8")
