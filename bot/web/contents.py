"""The channels and items of documents of feeds, made of what was read of the archive. Blocking: call in a thread."""

from collections.abc import Callable, Collection, Mapping, Sequence

from bot.feeds.addresses import PLACEHOLDER, Shelf, personal_shelf, public_shelf
from bot.feeds.catalog import NO_PORTRAITS, Published, channel_of, is_explicit, item_of, live_item_of
from bot.feeds.model import Channel, Item, LiveItem, Paging
from bot.settings import Settings
from bot.web.access import Family
from bot.web.episodes import FeedRows
from bot.web.library import View
from bot.web.live_items import Stage
from bot.web.press import UNDATED
from storage.records import BlobKey, Recording, RoomId, UserId


class Contents:
    """The contents of feeds. `base` gives the address that everything is built from, `cover` the file name of a view's
    picture, or of a recording's own. Call inside of the room's language."""

    def __init__(
        self, settings: Settings, base: Callable[[], str], cover: Callable[[View, Recording | None], str]
    ) -> None:
        self._settings = settings
        self._base = base
        self._cover = cover

    def shelf(self, view: View) -> Shelf:
        """Return the addresses of a room; in personal ones the place-holder stands where the token goes."""
        if view.family is Family.PERSONAL:
            return personal_shelf(self._base(), PLACEHOLDER)
        return public_shelf(self._base(), view.room.key)

    def items(self, view: View, rows: FeedRows, lost: Collection[BlobKey]) -> list[Item]:
        """Return the items of these rows, without the files that are lost, and those whose audio is."""
        settings, shelf = self._settings.feeds, self.shelf(view)
        explicit = is_explicit(view.face, settings)
        return [
            item_of(
                (recording, episode),
                settings,
                shelf,
                explicit=explicit,
                portraits=rows.portraits.get(recording.room_id, NO_PORTRAITS),
                original=rows.originals.get(recording.id),
                stems=has_stems(view),
                cover=shelf.cover(self._cover(view, recording)) if recording.cover is not None else None,
                lost=lost,
            )
            for recording, episode in rows.published
            if episode.blob not in lost
        ]

    def live(
        self, view: View, stages: Sequence[Stage], portraits: Mapping[RoomId, Mapping[UserId, BlobKey]]
    ) -> list[LiveItem]:
        settings, shelf = self._settings.feeds, self.shelf(view)
        explicit = is_explicit(view.face, settings)
        return [
            live_item_of(
                recording,
                stage,
                settings,
                shelf,
                explicit=explicit,
                cover=shelf.cover(self._cover(view, recording)),
                portraits=portraits.get(recording.room_id, NO_PORTRAITS),
            )
            for recording, stage in stages
        ]

    def channel(
        self,
        view: View,
        *,
        address: str | None = None,
        paging: Paging | None = None,
        published: Sequence[Published] = (),
        live: Sequence[LiveItem] = (),
        moved_to: str | None = None,
    ) -> Channel:
        """Return the channel of a document, without its date."""
        shelf = self.shelf(view)
        return channel_of(
            view.room,
            view.face,
            self._settings.feeds,
            shelf,
            private=view.family is Family.PERSONAL,
            cover=shelf.cover(self._cover(view, None)),
            built_at=UNDATED,
            address=address,
            paging=paging,
            published=published,
            live=live,
            hub=self._settings.web.websub_hub if address == shelf.feed else None,
            moved_to=moved_to,
        )


def has_stems(view: View) -> bool:
    """Return whether the feeds of a view name the sound of each speaker of a call."""
    return bool(view.face.given.stems)
