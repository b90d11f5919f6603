"""Orders: what is written of a job is read back the same, and by nobody else."""

import ast
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from bot import orders, topics
from bot.errors import MisfitJob
from bot.sound_handlers import sound_handlers
from bot.worker.lanes import LANES
from storage.records import (
    BlobKey,
    ChunkId,
    EndedBy,
    EventId,
    Job,
    JobId,
    JobState,
    Json,
    NewJob,
    Position,
    RecordingId,
    RetentionRule,
    RoomId,
    RuleKind,
    UserId,
)

BOT = Path(__file__).parent.parent / "bot"
OF_ORDERS_ALONE = {"NewJob", "JobName", "JobKind"}
ROOM, ALICE, EVENT, NOW = RoomId("!r:hs"), UserId("@a:hs"), EventId("$e"), datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
RECORDING, CHUNK = RecordingId(7), ChunkId("$c")
EXAMPLES: tuple[tuple[orders.Order, Json, str | None], ...] = (
    (orders.Fetch(CHUNK, RECORDING), {"recording": 7}, "7"),
    (
        orders.Fetch(CHUNK, RECORDING, not_there=2, judged_at=NOW),
        {"recording": 7, "not_there": 2, "judged_at": "2026-11-20T14:05:00Z"},
        "7",
    ),
    (orders.Tick(RECORDING), {}, None),
    (orders.Encode(RECORDING), {}, None),
    (orders.Encode(RECORDING, held=3, until=NOW), {"held": 3, "until": "2026-11-20T14:05:00Z"}, None),
    (orders.Finish(RECORDING), {}, None),
    (orders.Finish(RECORDING, anew=True), {"anew": True}, None),
    (orders.HandBack(RECORDING, ROOM), {"room_id": ROOM}, ROOM),
    (orders.SendBroadcast("0" * 32, ROOM), {"room_id": ROOM}, ROOM),
    (orders.HandBackPart(EVENT, RECORDING, ROOM), {"recording": 7, "room_id": ROOM}, ROOM),
    (orders.End(RECORDING, EndedBy.REMOVED), {"by": "removed"}, None),
    (orders.End(RECORDING, EndedBy.SWITCHED_OFF, Position(3)), {"by": "switched_off", "since": 3}, None),
    (orders.Cover(ROOM), {}, None),
    (orders.Cover(ROOM, "mxc://hs/a", 3), {"avatar": "mxc://hs/a", "tries": 3}, None),
    (
        orders.ChooseCover(EVENT, ROOM, ROOM, EVENT, ALICE),
        {"room_id": ROOM, "said_in": ROOM, "picture": EVENT, "asker": ALICE},
        ROOM,
    ),
    (orders.Refresh(ROOM), {}, None),
    (orders.KeepWishes(ROOM), {}, None),
    (orders.KeepOriginal(RECORDING), {}, None),
    (orders.CheckEpisode(RECORDING), {}, None),
    (orders.MakePortrait(ROOM, ALICE), {"room_id": ROOM, "user_id": ALICE}, ROOM),
    (
        orders.MakePortrait(ROOM, ALICE, "mxc://hs/a", 3),
        {"room_id": ROOM, "user_id": ALICE, "avatar": "mxc://hs/a", "tries": 3},
        ROOM,
    ),
    (orders.Mend(RECORDING), {}, None),
    (orders.Mend(RECORDING, track=True), {"track": True}, None),
    (orders.MendRoom(ROOM), {}, None),
    (orders.CatchUp(ROOM), {}, None),
    (orders.CatchUp(ROOM, read=True), {"read": True}, None),
    (orders.ShowRoom(ROOM), {}, None),
    (orders.KeepFloor(ROOM), {}, None),
    (orders.KeepCalls(ROOM), {}, None),
    (orders.LookAtStudios(ROOM), {}, None),
    (orders.Pin(ROOM), {}, None),
    (orders.CheckFeed(ROOM, EVENT, ROOM, ALICE), {"command": EVENT, "said_in": ROOM, "asker": ALICE}, ALICE),
    (orders.PingHub(ROOM, since=NOW), {"since": "2026-11-20T14:05:00Z"}, ROOM),
    (orders.React(EVENT, ROOM, "🔴"), {"room_id": ROOM, "key": "🔴"}, ROOM),
    (orders.TakeAway(EVENT, ROOM), {"room_id": ROOM}, ROOM),
    (orders.PutButtons(EVENT, ROOM), {"room_id": ROOM}, ROOM),
    (
        orders.MakeWalkie(EVENT, ALICE, "Shift", (UserId("@b:hs"),), ROOM, made=ROOM),
        {"asker": ALICE, "name": "Shift", "users": ["@b:hs"], "said_in": ROOM, "made": ROOM},
        ALICE,
    ),
    (orders.Walk(ROOM), {}, None),
    (orders.Invite(ROOM, ALICE, space=True), {"inviter": ALICE, "space": True}, ALICE),
    (orders.Backfill(ROOM), {}, None),
    (
        orders.Backfill(ROOM, since=NOW, asker=ALICE, cursor="t", walked=True, known=1, adopted=(EVENT,)),
        {
            "since": "2026-11-20T14:05:00Z",
            "asker": ALICE,
            "cursor": "t",
            "walked": True,
            "known": 1,
            "adopted": [EVENT],
        },
        ALICE,
    ),
    (
        orders.MakeEpisode(
            EVENT, ROOM, EVENT, ALICE, mod=True, so_far=orders.Gathered("t", Position(3), (RECORDING,), sealed=2)
        ),
        {
            "room_id": ROOM,
            "message": EVENT,
            "asker": ALICE,
            "mod": True,
            "so_far": {"cursor": "t", "position": 3, "recordings": [7], "sealed": 2},
        },
        ROOM,
    ),
    (orders.BackfillMessages(ROOM), {}, None),
    (
        orders.BackfillMessages(ROOM, command=EVENT, at=Position(3), asked_at=NOW, passed=True),
        {"command": EVENT, "at": 3, "asked_at": "2026-11-20T14:05:00Z", "passed": True},
        None,
    ),
    (
        orders.BackfillMessages(ROOM, since=NOW, asker=ALICE, cursor="t", first=EVENT, reached=True),
        {"since": "2026-11-20T14:05:00Z", "asker": ALICE, "cursor": "t", "first": EVENT, "reached": True},
        ALICE,
    ),
    (orders.Reread(EVENT, ROOM, ALICE, unknown=True), {"room_id": ROOM, "sender": ALICE, "unknown": True}, ROOM),
    (orders.HearAgain(EVENT, ROOM), {"room_id": ROOM}, ROOM),
    (orders.Redaction(EVENT, ROOM), {"room_id": ROOM}, ROOM),
    (orders.Unsend(EVENT, ROOM), {"room_id": ROOM}, ROOM),
    (
        orders.Command(EVENT, ROOM, ALICE, "help", Position(3), sent_at=NOW, thread=EVENT, mentions=("@bot:hs",)),
        {
            "room_id": ROOM,
            "sender": ALICE,
            "body": "help",
            "position": 3,
            "sent_at": "2026-11-20T14:05:00Z",
            "thread": EVENT,
            "mentions": ["@bot:hs"],
        },
        ROOM,
    ),
    (
        orders.Confirm(EVENT, ROOM, ALICE, EVENT, Position(3), received_at=NOW, sent_at=NOW),
        {
            "room_id": ROOM,
            "sender": ALICE,
            "to": EVENT,
            "position": 3,
            "received_at": "2026-11-20T14:05:00Z",
            "sent_at": "2026-11-20T14:05:00Z",
        },
        ROOM,
    ),
    (
        orders.ForgetMember(EVENT, ALICE, ROOM, "gone", alone=(RECORDING,)),
        {"user_id": ALICE, "room_id": ROOM, "report": "gone", "alone": [7]},
        ALICE,
    ),
    (
        orders.CloseRefused(EVENT, Position(3), ALICE, (ROOM,), RECORDING),
        {"since": 3, "user_id": ALICE, "room_ids": [ROOM], "after": 7},
        ALICE,
    ),
    (orders.Leave(ROOM, "asked", NOW), {"reason": "asked", "asked_at": "2026-11-20T14:05:00Z"}, None),
    (orders.Notice(topics.answer(EVENT), ROOM, "hello"), {"room_id": ROOM, "body": "hello"}, ROOM),
    (orders.Direct.address(ALICE, ROOM), {"user_id": ALICE, "room_id": ROOM}, ALICE),
    (orders.Direct.closed(ALICE, EVENT, "closed"), {"user_id": ALICE, "body": "closed"}, ALICE),
    (orders.Direct.disk_full(ALICE, NOW, "full"), {"user_id": ALICE, "body": "full"}, ALICE),
    (orders.ForgetStems(RECORDING), {}, None),
    (orders.Forget((BlobKey("a"), BlobKey("b"))), {"blobs": ["a", "b"]}, None),
    (orders.ImportKeys(Path("/data/keys-1"), "once"), {"file": "/data/keys-1", "passphrase": "once"}, None),
    (orders.RenewAddresses(), {}, None),
    (orders.NoteEnded(), {}, None),
    (orders.Expire(ROOM), {}, None),
    (
        orders.Expire(ROOM, (("kfmtra", RetentionRule(RuleKind.DAYS, 30)),), unlisted=2),
        {"gone": [["kfmtra", {"kind": "days", "most": 30}]], "unlisted": 2},
        None,
    ),
    (orders.Forewarn("expired:7", ROOM, (RECORDING,)), {"room_id": ROOM, "recordings": [7]}, ROOM),
)


def row(new: NewJob, payload: Json | None = None) -> Job:
    carried = new.payload if payload is None else payload
    return Job(JobId(1), new.kind, new.subject, carried, JobState.RUNNING, NOW, 0)


@pytest.mark.parametrize(("order", "payload", "turn"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_an_order_is_read_back_as_it_was_written(order: orders.Order, payload: Json, turn: str | None) -> None:
    """Its row holds what is not its default, and gives the same order again."""
    new = order.job(NOW)
    assert (new.kind, new.payload, new.turn, new.run_at) == (order.kind, payload, turn, NOW)
    assert type(order).of(row(new)) == order


def test_every_kind_has_its_example_and_its_own_name() -> None:
    """A kind is the name of its class, in lower case."""
    assert {type(order) for order, *_ in EXAMPLES} == set(orders.ORDERS)
    for order in orders.ORDERS:
        assert order.kind == re.sub(r"(?<!^)(?=[A-Z])", "_", order.__name__).lower()
    assert len(orders.KINDS) == len(orders.ORDERS)


def test_what_any_process_may_do_has_a_handler_without_a_session() -> None:
    """The property of the orders and the handlers of `aircheck work` say the same."""
    anywhere = {order.kind for order in orders.ORDERS if order.anywhere}
    assert set(sound_handlers(MagicMock())) == anywhere


def test_what_is_done_once_is_once_only() -> None:
    """Notices, commands and warnings; an address is sent as often as it is asked for."""
    once = [order for order, *_ in EXAMPLES if order.once]
    asked = {orders.Command, orders.Confirm, orders.ChooseCover, orders.ForgetMember, orders.CloseRefused}
    asked |= {orders.MakeEpisode, orders.MakeWalkie, orders.TakeAway, orders.PutButtons}
    once_only = {orders.Notice, orders.React, orders.Direct, orders.Forewarn} | asked
    assert {type(order) for order in once} == once_only
    assert not orders.Direct.address(ALICE, ROOM).once


def test_what_a_row_of_an_earlier_version_holds_beside_it_is_left_alone() -> None:
    """Fields that an order no longer has say nothing."""
    new = orders.Backfill(ROOM).job()
    assert orders.Backfill.of(row(new, {"room_id": "!other:hs", "since": None, "old": 1})) == orders.Backfill(ROOM)


@pytest.mark.parametrize("payload", [{}, {"recording": None}, {"recording": "x"}, {"recording": 7, "not_there": []}])
def test_a_payload_that_does_not_fit_is_an_error_that_names_the_field(payload: Json) -> None:
    """The error names the kind and the field, and no content."""
    with pytest.raises(MisfitJob, match=r"^the payload of a fetch job does not fit: (recording|not_there)$"):
        orders.Fetch.of(row(orders.Fetch(CHUNK, RECORDING).job(), payload))


def test_blobs_in_another_set_are_another_job() -> None:
    """So that none is lost when one job takes the place of another; the same set is the same job."""
    one, two = orders.Forget((BlobKey("a"),)), orders.Forget((BlobKey("a"), BlobKey("b")))
    assert one.subject != two.subject
    assert one.subject == orders.Forget((BlobKey("a"),)).subject


def test_nobody_else_writes_jobs_or_reads_their_payloads() -> None:
    """Outside of bot/orders nothing in bot/ makes a row or its name, or looks into a payload."""
    written = []
    for path in sorted(BOT.rglob("*.py")):
        if path.is_relative_to(BOT / "orders"):
            continue
        of_packets = path.is_relative_to(BOT / "calls")  # packets have payloads, too
        for node in ast.walk(ast.parse(path.read_text())):
            makes = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OF_ORDERS_ALONE
            reads = isinstance(node, ast.Attribute) and node.attr == "payload" and not of_packets
            if makes or reads:
                written.append(f"{path.relative_to(BOT)}: {ast.unparse(node)}")
    assert written == []


def test_each_order_has_one_lane() -> None:
    """No order is without a lane, in which it would never be carried out, and none is in two."""
    kinds = Counter(kind for lane in LANES for kind in lane.kinds)
    assert kinds == Counter(order.kind for order in orders.ORDERS)
