"""The page of a recording: its sound, what was said about it, and its ledger; and the player for other sites."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from bot.feeds.addresses import Shelf
from bot.feeds.catalog import Published, default_description
from bot.feeds.stems import whole_stems
from bot.feeds.text import clean_line, clean_text
from bot.language import _, speaking
from bot.recording import account
from bot.recording.call.words import unheard
from bot.recording.kinds import lay_out
from bot.recording.ledger import Ledger
from bot.recording.lengths import player_clock
from bot.recording.wording import words_of
from bot.web.access import Family
from bot.web.airing import Airing
from bot.web.ledger_table import table_of
from bot.web.library import View
from bot.web.linked_data import linked_data
from bot.web.now import content_of
from bot.web.oembed import frame_of, oembed_address
from bot.web.people import MOST_SHOWN, people_of
from bot.web.recording_parts import chapter_link, live_player, notes_of, senders
from bot.web.rendering import Renderer
from bot.web.rows import EpisodeRow, episode_row
from bot.web.stem_names import MOST_TRACKS, stem_row
from bot.web.subscribing import subscription
from bot.web.timeline import timeline_of
from bot.web.waveforms import BARS, HEIGHT, Waveform
from storage.records import BlobKey, CallEventKind, Chunk, Episode, Recording, UserId, to_ms

OPEN_PARTS = 30
"""The most messages that a recording's page shows without being asked."""
SUMMARY_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Subject:
    """A recording as its page shows it. `live`: all that is on the air in the room, which may be this recording, though
    it may have ended: its episode is being made. `newer` and `older`: the episodes beside it. `unheard`: members of a
    call some of whose sound it lacks, counted by the reason."""

    view: View
    recording: Recording
    episode: Episode | None
    chunks: Sequence[Chunk]
    live: Sequence[Airing] = ()
    waveform: Waveform | None = None
    newer: Published | None = None
    older: Published | None = None
    portraits: Mapping[UserId, BlobKey] = field(default_factory=dict)
    unheard: Mapping[CallEventKind, int] = field(default_factory=dict)

    @property
    def own(self) -> list[Airing]:
        """The airing of this recording; empty where it is not on the air."""
        return [airing for airing in self.live if airing.recording.id == self.recording.id]


class RecordingPage:
    """The pages of recordings. Both answers are blocking: laying out a ledger takes long."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._zone = renderer.settings.feeds.zone

    def answer(self, subject: Subject, cover: str, token: str | None, begin: int = 0) -> web.Response:
        """Render a recording's page with its whole ledger, also before there is audio. `begin`: the second at which a
        shared link begins."""
        view, recording = subject.view, subject.recording
        shelf, ledger = self._renderer.shelf(view, token), lay_out(recording, subject.chunks)
        words = words_of(recording)
        with speaking(view.room.language):
            named = senders(recording, subject.chunks)
            row = episode_row(recording, subject.episode, self._zone)
            return self._renderer.of_room(
                "episode.html",
                view,
                cover,
                shelf,
                content=content_of(view.key, subject.live),
                live=[live_player(airing, self._zone) for airing in subject.own],
                beside=[live_player(airing, self._zone) for airing in subject.live if airing not in subject.own],
                episode=row,
                people=people_of(recording, subject.portraits),
                most_people=MOST_SHOWN,
                subscription=subscription(shelf.feed, private=token is not None),
                gone=_(words.gone),
                begin=begin,
                missing=account.first_line(recording, account.loss_of(ledger)),
                notes=notes_of(recording),
                verdict=account.verdict(recording, ledger, unheard=bool(subject.unheard)),
                unheard=list(unheard(subject.unheard)),
                ledger=table_of(ledger, named),
                parts=(_(words.part), _(words.parts)),
                several=named is not None,
                open_parts=OPEN_PARTS,
                opened=bool(subject.own),
                newer=episode_row(*subject.newer, self._zone) if subject.newer else None,
                older=episode_row(*subject.older, self._zone) if subject.older else None,
                **self._sound(subject, ledger),
                **self._public(subject, row, shelf, cover),
            )

    def embedded(self, subject: Subject, cover: str) -> web.Response:
        """Render the player of an episode for the pages of other sites."""
        view, recording = subject.view, subject.recording
        shelf, ledger = self._renderer.shelf(view, None), lay_out(recording, subject.chunks)
        with speaking(view.room.language):
            return self._renderer.of_room(
                "embed.html",
                view,
                cover,
                shelf,
                framed=True,
                content="",
                page_address=shelf.episode(recording.code),
                episode=episode_row(recording, subject.episode, self._zone),
                **self._sound(subject, ledger),
            )

    def _sound(self, subject: Subject, ledger: Ledger) -> dict[str, Any]:
        """Return what the templates need of the audio; none while it is live."""
        recording, episode, waveform = subject.recording, subject.episode, subject.waveform
        if episode is None or subject.own:
            return {"audio": False, "stems": [], "chapters": [], "timeline": None}
        length = to_ms(episode.samples)
        timeline = timeline_of(recording, episode, subject.chunks, ledger)
        return {
            "audio": True,
            "blob": episode.blob[:16],
            "seconds": round(length / 1000, 2),
            "clock": player_clock(length),
            "bars": waveform.path if waveform else "",
            "box": (BARS, HEIGHT),
            "timeline": timeline.told(waveform.bars if waveform else None),
            "chapters": [chapter_link(mark) for mark in episode.chapters],
            "stems": [stem_row(stem) for stem in whole_stems(recording)],
            "most_tracks": MOST_TRACKS,
        }

    def _public(self, subject: Subject, row: EpisodeRow, shelf: Shelf, cover: str) -> dict[str, Any]:
        """Return what only public pages have: what other sites read, link to and embed."""
        if subject.view.family is not Family.PUBLIC:
            return {}
        recording, episode, page = subject.recording, subject.episode, shelf.episode(subject.recording.code)
        told = recording.description or (
            default_description(recording, episode, self._renderer.settings.feeds) if episode else ""
        )
        summary = clean_line(clean_text(told), SUMMARY_CHARACTERS)
        return {
            "page_address": page,
            "audio_address": shelf.audio(recording.code),
            "summary": summary,
            "oembed": {kind: oembed_address(self._renderer.base(), page, kind) for kind in ("json", "xml")},
            "embed_code": frame_of(shelf.embed(recording.code), row.title),
            "linked_data": linked_data(recording, episode, row.title, summary, subject.view.face.title, shelf, cover)
            if episode
            else None,
        }
