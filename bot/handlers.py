"""The handlers of all orders, built from one set of parts."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from types import ModuleType

from bot import orders
from bot.audio.ffmpeg import Ffmpeg
from bot.calls.engine import Engine
from bot.commands.context import no_calls
from bot.commands.handle import Commands
from bot.errors import GiveUp
from bot.feeds import addresses
from bot.intake.intake import Intake
from bot.matrix.session import Session
from bot.recorder import Recorder
from bot.settings import Settings
from bot.web.hub import Hub
from bot.worker.attempts import Handler
from bot.worker.backfilling import Backfilling
from bot.worker.catching_up import CatchingUp
from bot.worker.chats import Chats
from bot.worker.choosing_cover import ChoosingCover
from bot.worker.closing_refused import ClosingRefused
from bot.worker.directs import Directs
from bot.worker.expiring import Expiring, Forewarning
from bot.worker.forgetting import Forgetting, ForgettingStems
from bot.worker.forgetting_member import ForgettingMember
from bot.worker.given import Fetched
from bot.worker.hearing_again import HearingAgain
from bot.worker.importing import ImportingKeys
from bot.worker.invites import Invites
from bot.worker.keeping_floor import KeepingFloor
from bot.worker.keeping_wishes import KeepingWishes
from bot.worker.later import Later
from bot.worker.leaving import Leaving
from bot.worker.looking_at_studios import LookingAtStudios
from bot.worker.making_walkie import MakingWalkie
from bot.worker.notices import Notices
from bot.worker.panels import PuttingButtons, TakingAway
from bot.worker.past_messages import BackfillingMessages, MakingEpisode
from bot.worker.pinging import PingingHub
from bot.worker.pinning import Pinning
from bot.worker.reacting import Reacting
from bot.worker.redactions import Redactions
from bot.worker.refreshing import Refreshing
from bot.worker.renewing import NotingEnded, RenewingAddresses
from bot.worker.rereading import Rereading
from bot.worker.room_history import RoomHistory
from bot.worker.showing import ShowingRoom
from bot.worker.unsending import Unsending
from bot.worker.walking import Walking
from storage.database import Connection
from storage.records import Job, JobKind, MediaSource, RecordingId, RoomId, Studio, UserId
from storage.store import Store


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that handlers are made of. `calls`: None where the program was installed without what calls need.
    `listened`: whether somebody listens to a recording while it is live."""

    settings: Settings
    store: Store
    ffmpeg: Ffmpeg
    clock: Callable[[], datetime]
    intake: Intake
    session: Session
    recorder: Recorder
    floors: KeepingFloor
    wishes: KeepingWishes
    calls: Engine | None
    listened: Callable[[Connection, RecordingId], Awaitable[bool]]

    async def download(self, source: MediaSource, part: Path, max_bytes: int) -> Fetched:
        """Stream the media of `source` to a file, decrypted. Raises TryLater, GiveUp."""
        return await self.session.media.fetch_media(source, part, max_bytes=max_bytes)

    async def personal_addresses(
        self, db: Connection, room_id: RoomId, user_id: UserId, generation: int
    ) -> tuple[str, str]:
        """Give a listener's addresses of a room's podcast: feed and page."""
        token = addresses.token_for(await self.store.secret.within(db), room_id, user_id, generation)
        shelf = addresses.personal_shelf(self.settings.web.address, token)
        return shelf.feed, shelf.page

    async def studio_token(self, db: Connection, studio: Studio) -> str:
        """Give the token in the address of a studio."""
        return addresses.studio_token(await self.store.secret.within(db), studio)


def handlers_of(parts: Parts) -> dict[JobKind, Handler]:
    """Build the handler of each kind of job."""
    settings, store, clock, session = parts.settings, parts.store, parts.clock, parts.session
    intake, recorder, history = parts.intake, parts.recorder, RoomHistory(session)
    sending, prefix = session.sending, settings.commands.prefix
    calls_in = parts.calls.going_on if parts.calls else no_calls
    commands = Commands(store, settings, store.secret.within, clock, apply=recorder.apply, calls_in=calls_in)
    chats = Chats(store, sending, us=session.user_id, clock=clock)
    hub = settings.web.websub_hub
    publish = Hub(hub).publish if hub is not None else None
    return {
        **_of_sound(parts),
        **_handing_back(parts, history),
        **_broadcasting(parts, history),
        orders.Unsend.kind: Unsending(store, sending),
        orders.ChooseCover.kind: ChoosingCover(store, parts.ffmpeg, history, download=parts.download, clock=clock),
        orders.Walk.kind: Walking(store, history, intake, clock=clock),
        orders.Reread.kind: Rereading(store, history, session.user_id, clock=clock),
        orders.HearAgain.kind: HearingAgain(store, history, clock=clock),
        orders.Redaction.kind: Redactions(store, history, clock=clock),
        orders.Backfill.kind: Backfilling(store, history, adopt=recorder.adopt, clock=clock),
        orders.MakeEpisode.kind: MakingEpisode(store, history, recorder.gathering, session.user_id, prefix, clock),
        orders.BackfillMessages.kind: BackfillingMessages(
            store, history, recorder.gathering, session.user_id, prefix, clock
        ),
        orders.RenewAddresses.kind: RenewingAddresses(store, clock),
        orders.NoteEnded.kind: NotingEnded(store, clock),
        orders.ImportKeys.kind: ImportingKeys(session, open_all=intake.open_all),
        orders.Forget.kind: Forgetting(store),
        orders.ForgetStems.kind: ForgettingStems(store),
        orders.Tick.kind: recorder.tick,
        orders.End.kind: recorder.end,
        orders.Notice.kind: Notices(store, sending, settings, apply=recorder.apply, clock=clock),
        orders.ShowRoom.kind: ShowingRoom(
            store, sending, us=session.user_id, max_days=settings.retention.max_days, clock=clock
        ),
        orders.KeepFloor.kind: parts.floors,
        orders.KeepCalls.kind: parts.calls or _without_calls,
        orders.React.kind: Reacting(store, sending),
        **_checking_feed(parts),
        orders.PingHub.kind: PingingHub(store, publish, settings.web.address, clock),
        orders.MakeWalkie.kind: MakingWalkie(store, sending, settings, us=session.user_id, clock=clock),
        orders.PutButtons.kind: PuttingButtons(store, sending),
        orders.TakeAway.kind: TakingAway(store, sending),
        orders.Pin.kind: Pinning(store, sending, us=session.user_id, clock=clock),
        orders.Direct.kind: Directs(
            store,
            sending,
            chats,
            addresses=parts.personal_addresses,
            studio_token=parts.studio_token,
            web=settings.web.address,
            sources=settings.web.source_address,
            prefix=prefix,
            clock=clock,
        ),
        orders.LookAtStudios.kind: LookingAtStudios(store, clock),
        orders.ForgetMember.kind: ForgettingMember(store, apply=recorder.apply, clock=clock),
        orders.CloseRefused.kind: ClosingRefused(store, apply=recorder.apply, clock=clock),
        orders.Leave.kind: Leaving(store, sending, clock=clock),
        orders.Invite.kind: Invites(store, sending, allowed=settings.matrix.invites),
        **_mending(parts, history),
        orders.CatchUp.kind: CatchingUp(
            store,
            settings,
            sending,
            us=session.user_id,
            take_state=intake.refresh,
            in_touch=lambda: session.in_touch,
            apply=recorder.apply,
            clock=clock,
        ),
        orders.KeepWishes.kind: parts.wishes,
        orders.Refresh.kind: Refreshing(store, sending, take_state=intake.refresh),
        orders.Expire.kind: Expiring(store, settings, apply=recorder.apply, clock=clock),
        orders.Forewarn.kind: Forewarning(store, settings, sending, clock),
        orders.Command.kind: commands,
        orders.Confirm.kind: commands.confirm,
    }


def _of_sound(parts: Parts) -> dict[JobKind, Handler]:
    def make(module: ModuleType) -> Mapping[JobKind, Handler]:
        sound = module.SoundParts(
            parts.settings, parts.store, parts.ffmpeg, parts.clock, parts.download, parts.recorder.apply, parts.listened
        )
        handlers: Mapping[JobKind, Handler] = module.sound_handlers(sound)
        return handlers

    return Later("bot.sound_handlers", make).handlers(order.kind for order in orders.ORDERS if order.anywhere)


def _handing_back(parts: Parts, history: RoomHistory) -> dict[JobKind, Handler]:
    kinds, session = (orders.HandBack.kind, orders.HandBackPart.kind), parts.session

    def make(module: ModuleType) -> Mapping[JobKind, Handler]:
        handler: Handler = module.HandingBack(
            parts.store,
            parts.settings,
            parts.ffmpeg,
            session.sending,
            session.uploads,
            history,
            us=session.user_id,
            clock=parts.clock,
        )
        return dict.fromkeys(kinds, handler)

    return Later("bot.worker.handing_back", make).handlers(kinds)


def _broadcasting(parts: Parts, history: RoomHistory) -> dict[JobKind, Handler]:
    session = parts.session

    def make(module: ModuleType) -> Mapping[JobKind, Handler]:
        handler: Handler = module.SendingBroadcast(
            parts.store,
            session.sending,
            session.uploads,
            history,
            us=session.user_id,
            apply=parts.recorder.apply,
            clock=parts.clock,
        )
        return {orders.SendBroadcast.kind: handler}

    return Later("bot.worker.sending_broadcast", make).handlers([orders.SendBroadcast.kind])


def _mending(parts: Parts, history: RoomHistory) -> dict[JobKind, Handler]:
    def make(module: ModuleType) -> Mapping[JobKind, Handler]:
        handler = module.Mending(parts.store, parts.settings, history, download=parts.download, clock=parts.clock)
        return {orders.Mend.kind: handler, orders.MendRoom.kind: handler.room}

    return Later("bot.worker.mending", make).handlers([orders.Mend.kind, orders.MendRoom.kind])


def _checking_feed(parts: Parts) -> dict[JobKind, Handler]:
    def make(module: ModuleType) -> Mapping[JobKind, Handler]:
        from bot.calls.checking import check_for_room

        address, check_calls = parts.settings.web.address, partial(check_for_room, parts.session)
        handler = module.CheckingFeed(
            parts.store, address, parts.clock, us=parts.session.user_id, check_calls=check_calls
        )
        return {orders.CheckFeed.kind: handler}

    return Later("bot.worker.checking_feed", make).handlers([orders.CheckFeed.kind])


async def _without_calls(job: Job) -> None:
    raise GiveUp('the extra "calls" is not installed', reason="not_installed", room=orders.KeepCalls.of(job).room_id)
