"""The consent of rooms as data."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from bot.consent_log import consent_json
from storage import changes, consent_log, consent_notices, optouts, rooms
from storage.place import Place
from storage.records import EVERYWHERE, Change, ConsentNotice, EventId, OptOut, Position, RoomId, ToldCall
from storage.store import Store
from tests.factories import ALICE, NOW, ROOM, a_room

OTHER = RoomId("!other:hs")
FIRST = ConsentNotice(EventId("$first"), ROOM, NOW, "I record.", pinned=True)
SECOND = ConsentNotice(EventId("$second"), ROOM, NOW + timedelta(days=1), "I record more.")
SWITCHED = Change(0, NOW, ROOM, ALICE, "record", before="off", after="on", event_id=EventId("$on"))
TOLD = ToldCall("kfmtra", ROOM, EventId("$call"), NOW, EventId("$notice"), (ALICE,))
OUT = OptOut(ALICE, EVERYWHERE, Position(5), True, NOW, EventId("$out"))


async def test_a_rooms_consent_log_has_its_notices_changes_and_opt_outs(tmp_path: Path) -> None:
    """The log leaves out other rooms, and has the opt-outs that hold everywhere."""
    store = await Store.own(Place(tmp_path / "data"))
    async with store.write() as db:
        for room_id in (ROOM, OTHER):
            await rooms.save_room(db, a_room(room_id))
            for notice in (FIRST, SECOND):
                await consent_notices.add(
                    db, replace(notice, room_id=room_id, event_id=EventId(f"{notice.event_id}{room_id}"))
                )
            await changes.add(db, replace(SWITCHED, room_id=room_id))
            await optouts.add(db, replace(OUT, room_id=room_id))
        await optouts.add(db, OUT)
        log, every = await consent_log.read(db, ROOM), await consent_log.read(db)
    await store.close()
    assert {notice.room_id for notice in log.notices} == {change.room_id for change in log.changes} == {ROOM}
    assert {word.room_id for word in log.opt_outs} == {ROOM, EVERYWHERE}
    assert (len(every.notices), len(every.changes), len(every.opt_outs)) == (4, 2, 3)


def test_the_json_says_which_notice_stood_when() -> None:
    """A notice stood until the next one of its room; times have a zone; everywhere is null."""
    elsewhere = replace(FIRST, room_id=OTHER, event_id=EventId("$elsewhere"))
    log = consent_json([FIRST, elsewhere, SECOND], [SWITCHED], [OUT, replace(OUT, room_id=ROOM, out=False)], [TOLD])
    assert [(notice["event_id"], notice["stood_until"]) for notice in log["notices"]] == [
        ("$first", "2026-11-21T14:05:00.000+00:00"),
        ("$elsewhere", None),
        ("$second", None),
    ]
    assert log["changes"] == [
        {
            "at": "2026-11-20T14:05:00.000+00:00",
            "room_id": ROOM,
            "by": ALICE,
            "what": "record",
            "subject": None,
            "before": "off",
            "after": "on",
            "event_id": "$on",
        }
    ]
    assert [(word["room_id"], word["said"]) for word in log["opt_outs"]] == [(None, "optout"), (ROOM, "optin")]
    assert log["calls"] == [
        {
            "recording": "kfmtra",
            "room_id": ROOM,
            "call": "$call",
            "began_at": "2026-11-20T14:05:00.000+00:00",
            "notice": "$notice",
            "told": [ALICE],
        }
    ]
