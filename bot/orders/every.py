"""All kinds of orders, and the names of those that a recording may have. Pure."""

from collections.abc import Iterable

from bot import topics
from bot.orders.care import CheckEpisode, Forget, ForgetStems, Mend, MendRoom
from bot.orders.events import Command, Confirm, HearAgain, ImportKeys, Redaction, Unsend
from bot.orders.files import ChooseCover, Cover, HandBack, HandBackPart, KeepOriginal, MakePortrait
from bot.orders.order import Order
from bot.orders.past import Backfill, BackfillMessages, MakeEpisode
from bot.orders.people import CloseRefused, Expire, Forewarn, ForgetMember
from bot.orders.podcasts import CheckFeed, NoteEnded, PingHub, RenewAddresses
from bot.orders.recordings import Encode, End, Fetch, Finish, Reread, Tick
from bot.orders.rooms import CatchUp, Invite, KeepWishes, Leave, Pin, Refresh, ShowRoom, Walk
from bot.orders.saying import Direct, Notice, React
from bot.orders.speaking import KeepCalls, KeepFloor, LookAtStudios, MakeWalkie, PutButtons, TakeAway
from bot.orders.studios import SendBroadcast
from storage.records import ChunkId, EventId, JobName, Recording


def of_recording(
    recording: Recording, chunks: Iterable[ChunkId], told: Iterable[str], parts: Iterable[EventId] = ()
) -> list[JobName]:
    """Name all that a recording may still ask for; `told`: of what a room is told, as in `wording.TOLD`; `parts`: the
    broadcasts that are its transmissions."""
    event_id = recording.event_id
    return [
        *map(Fetch.about, chunks),
        *(order.about(part) for order in (HandBackPart, Reread) for part in parts),
        *(order.about(recording.id) for order in (Encode, Finish, HandBack, KeepOriginal, CheckEpisode, Tick, End)),
        Reread.about(event_id),
        React.about(event_id),
        Notice.about(topics.recording_begun(event_id)),
        *(Notice.about(topics.told_of(what, event_id)) for what in told),
    ]


def announcements_of(recording: Recording) -> list[JobName]:
    """Name the notices that announce a recording."""
    return [Notice.about(topic(recording.event_id)) for topic in (topics.episode_published, topics.episode_waits)]


ORDERS: tuple[type[Order], ...] = (
    Fetch, Tick, Encode, Finish, End, Cover, Refresh, Walk, Invite, Backfill, Reread, Redaction, Command, Confirm,
    Notice, Direct, Forget, ImportKeys, RenewAddresses, Expire, Forewarn, ShowRoom, HandBack, HandBackPart, Unsend,
    Pin, ChooseCover, Leave, ForgetMember, React, CloseRefused, KeepFloor, MakeEpisode, BackfillMessages,
    TakeAway, PutButtons, MakeWalkie, HearAgain, ForgetStems, KeepCalls, PingHub,
    SendBroadcast,
    KeepOriginal, MakePortrait, CheckEpisode, CheckFeed, NoteEnded, CatchUp, Mend, MendRoom, KeepWishes,
    LookAtStudios,
)  # fmt: skip
KINDS = {order.kind: order for order in ORDERS}
