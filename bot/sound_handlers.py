"""The handlers of orders that any process may take (`Order.anywhere`): those about sound and pictures."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from bot import orders
from bot.audio.ffmpeg import Ffmpeg
from bot.settings import Settings
from bot.worker.attempts import Handler
from bot.worker.checking_episode import CheckingEpisode
from bot.worker.covering import Covering
from bot.worker.encoding import Encoding
from bot.worker.fetching import Fetching
from bot.worker.finishing import Finishing
from bot.worker.given import Apply, Download
from bot.worker.keeping_original import KeepingOriginal
from bot.worker.making_portrait import MakingPortrait
from bot.worker.tracks import Tracks
from storage.database import Connection
from storage.records import JobKind, RecordingId
from storage.store import Store


@dataclass(frozen=True, slots=True)
class SoundParts:
    """The parts that these handlers are made of. `download` gets media from the homeserver; `apply` is the recorder's;
    `listened` tells whether somebody listens to a recording while it is live."""

    settings: Settings
    store: Store
    ffmpeg: Ffmpeg
    clock: Callable[[], datetime]
    download: Download
    apply: Apply
    listened: Callable[[Connection, RecordingId], Awaitable[bool]]


def sound_handlers(parts: SoundParts) -> dict[JobKind, Handler]:
    """Build the handler of each order that any process may take."""
    settings, store, ffmpeg, clock = parts.settings, parts.store, parts.ffmpeg, parts.clock
    download, apply = parts.download, parts.apply
    tracks = Tracks(store, settings, ffmpeg, clock)
    covering = Covering(store, ffmpeg, download=download, clock=clock)
    return {
        orders.Fetch.kind: Fetching(store, settings, ffmpeg, download=download, apply=apply, clock=clock),
        orders.Encode.kind: Encoding(store, tracks, clock, listened=parts.listened),
        orders.Finish.kind: Finishing(store, settings, tracks, cover=covering.of, apply=apply, clock=clock),
        orders.Cover.kind: covering,
        orders.MakePortrait.kind: MakingPortrait(store, ffmpeg, download=download, clock=clock),
        orders.KeepOriginal.kind: KeepingOriginal(store, clock),
        orders.CheckEpisode.kind: CheckingEpisode(store, settings, clock),
    }
