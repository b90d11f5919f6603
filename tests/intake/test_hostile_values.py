"""Texts and numbers that not every database can hold cost nobody else anything, and are the same in all of them."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, select

from storage import journal as journal_of
from storage import rooms
from storage.database import Connection
from storage.records import HeardEvent, Json, SessionId, Withheld
from storage.tables import chunks, journal, recordings, room_state, withheld
from storage.texts import dumps
from tests.postgresql import Server
from tests.world import ALICE, BOT, ROOM, START, World, batch, chunk, heard, info, sealed, state, world_of
from tests.world import room_state as the_room

HALF, NUL, HUGE = "\ud83d", "\0", 2**70
ODD = f"a{NUL}b{HALF}c\\u0000\\ud800"
"""A text with NUL, half of a surrogate pair, and what only looks like them."""
KEPT = (journal, room_state, recordings, chunks, withheld)
OF_ITS_OWN = frozenset({"code", "chunks_edition"})


def odd_state() -> tuple[Json, ...]:
    """Return state whose texts and numbers are odd wherever a stranger may choose them."""
    number = {"origin_server_ts": HUGE}
    return (
        state("m.room.name", {"name": ODD}) | number,
        state("m.room.topic", {"topic": "long" * 20_000, "more": math.nan}),
        state("m.room.avatar", {"url": f"mxc://hs/{ODD}"}),
        state("m.room.canonical_alias", {"alias": ODD, "alt_aliases": [ODD, HUGE]}),
        state("m.room.member", {"membership": "join", "displayname": ODD, "avatar_url": ODD}, "@odd:hs", "@odd:hs"),
        state("m.room.member", {"membership": "join"}, f"@half{HALF}:hs"),
        state("m.room.member", {"membership": "join"}, "@" + "l" * 3000),
        state("m.room.member", {"membership": "join"}, f"@nul{NUL}:hs"),
        state("m.room.member", {"membership": HALF}, "@nobody:hs", event_id="$" + "i" * 3000),
        state("m.room.power_levels", {"users": {ALICE: 100, ODD: HUGE, "@inf:hs": math.inf}}),
        state("org.matrix.msc3401.call.member", {"m.calls": [ODD, HUGE, math.nan]}, "@odd:hs", "@odd:hs"),
    )


def odd_events() -> Sequence[HeardEvent]:
    voice = {"msgtype": "m.audio", "url": "mxc://hs/v", "org.matrix.msc3245.voice": {}, "body": ODD}
    length = {
        "info": {"duration": HUGE, "size": HUGE, "mimetype": ODD},
        "org.matrix.msc1767.audio": {"duration": 1e99},
    }
    part = dict(chunk("$huge", 1).event["content"]) | {"io.element.voice_broadcast_chunk": {"sequence": HUGE}}
    return (
        chunk("$one", 1),
        heard("$named", "m.room.message", dict(chunk("$named", 2).event["content"]) | length | {"body": ODD}),
        heard("$huge", "m.room.message", part),
        heard("$voice", "m.room.message", voice | length, origin_server_ts=HUGE),
        heard("$said", "m.room.message", {"msgtype": "m.text", "body": f"!aircheck title {ODD}" + "t" * 9000}),
        heard("$asked", "m.room.message", {"msgtype": "m.text", "body": "!aircheck " + ODD, "format": math.nan}),
        heard("$reaction", "m.reaction", {"m.relates_to": {"event_id": "$" + ODD, "key": ODD, "rel_type": ODD}}),
        sealed("$sealed", "s" * 255),
        info("$end", "paused", last_chunk_sequence=HUGE, device_id=ODD),
        chunk("$last", 3),
    )


async def rows(db: Connection, table: Table) -> list[dict[str, Any]]:
    found = (await db.execute(select(table).order_by(*table.primary_key))).mappings()
    return [{name: value for name, value in row.items() if name not in OF_ITS_OWN} for row in found]


async def story(world: World) -> list[tuple[str, dict[str, Any]]]:
    """Take in odd state and odd events among others, and return all that is stored of them."""
    await world.intake.take(batch(before=the_room(*odd_state())))
    await world.join()
    said = (Withheld(SessionId(ODD), ALICE, "m.unverified"), Withheld(SessionId("s" * 9000), ALICE, "m.unverified"))
    await world.intake.take(batch(info(START, "started", device_id=ODD), *odd_events(), withheld=said))
    await world.settle()
    await world.intake.take(batch(heard("$again", "m.room.member", {"membership": "leave"}, state_key="@odd:hs")))
    await world.settle()
    async with world.store.read() as db:
        assert await rooms.state(db, ROOM, "m.room.member", BOT) is not None
        assert len(await rooms.present_members(db, ROOM, 100)) == 2
        assert not await journal_of.waits(db, ROOM, ALICE)
        return [(table.name, row) for table in KEPT for row in await rows(db, table)]


async def test_values_of_strangers_are_the_same_in_both_databases(
    tmp_path: Path, postgresql: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """No event fails because of a text or number in it, none of its neighbours is lost, and both databases hold the
    same."""
    caplog.set_level(logging.ERROR)
    stored = []
    for address in (None, await postgresql.new()):
        async with world_of(tmp_path / str(address is None), storage={"database_url": address}) as world:
            stored.append(await story(world))
    assert not caplog.records
    for ours, theirs in zip(*stored, strict=True):
        assert ours == theirs
    assert {row["event_id"] for name, row in stored[1] if name == "chunks"} >= {"$one", "$named", "$last"}


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        ({"a": "plain", "b": [1, None, True]}, '{"a": "plain", "b": [1, null, true]}'),
        ([NUL], '["\\ufffd"]'),
        ([HALF + "x"], '["\ufffdx"]'),
        (["\U0001f3a7"], '["\U0001f3a7"]'),
        (["\\u0000", "\\" + NUL], '["\\\\u0000", "\\\\\\ufffd"]'),
        ([math.nan, -math.inf, "NaN"], '[null, null, "NaN"]'),
    ],
)
def test_json_of_strangers_can_be_stored_anywhere(tree: object, text: str) -> None:
    """Values that PostgreSQL refuses are replaced, and nothing that only looks like them."""
    assert dumps(tree) == text
