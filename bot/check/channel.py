"""Rules for the head of a feed: those of Apple (Podcaster's guide to RSS), Spotify, PSP-1 and the podcast namespace.
Pure."""

import re
from collections.abc import Iterator

from bot.check.feed_document import FeedDocument
from bot.check.finding import Finding, Problem, judged, tripped
from bot.feeds import categories
from bot.feeds.languages import language_tag
from bot.feeds.text import DESCRIPTION_BYTES, TITLE_CHARACTERS
from bot.language import _

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_TYPES = (None, "episodic", "serial")


def judge_channel(feed: FeedDocument, address: str, *, private: bool) -> Iterator[Finding]:
    """Judge everything in the head but the artwork. `address`: the one that was asked."""
    yield from judged(_("owner e-mail"), list(_email(feed, private=private)), _email_is_fine(private=private))
    yield from judged(_("author"), list(_author(feed)), _("there is one"))
    yield from judged(_("title"), list(_texts(feed)), _("title, description and link are there"))
    yield from judged(_("category"), list(_category(feed)), _("Apple knows it"))
    yield from judged(_("language"), list(_language(feed)), feed.language or "")
    yield from judged(_("explicit"), list(_explicit(feed)), feed.explicit or "")
    yield from judged(_("own address"), list(_own_address(feed, address)), _("the feed names the address it has"))
    fine = _("kept out of directories") if private else _("directories may list it")
    yield from judged(_("listing"), list(_listing(feed, private=private)), fine)


def _email_is_fine(*, private: bool) -> str:
    return _("none, as it should be in a private feed") if private else _("there is one")


def _email(feed: FeedDocument, *, private: bool) -> Iterator[Problem]:
    if private:
        if feed.email is not None:
            yield Problem(_("a private feed names one: with it, a directory may list the feed"))
    elif feed.email is None:
        yield Problem(
            _("missing: Spotify and other directories send a code to it before they list a podcast (`feeds.email`)")
        )
    elif not _EMAIL.fullmatch(feed.email):
        yield Problem(_("is not an e-mail address"))


def _author(feed: FeedDocument) -> Iterator[Problem]:
    if feed.author is None:
        yield Problem(_("missing: Spotify refuses the feed"))
    elif len(feed.author) > TITLE_CHARACTERS:
        yield tripped(_("longer than {most} characters: apps cut it").format(most=TITLE_CHARACTERS))


def _texts(feed: FeedDocument) -> Iterator[Problem]:
    if feed.title is None:
        yield Problem(_("missing: every directory refuses the feed"))
    elif len(feed.title) > TITLE_CHARACTERS:
        yield tripped(_("longer than {most} characters: apps cut it").format(most=TITLE_CHARACTERS))
    if feed.description is None:
        yield Problem(_("the description is missing: Apple refuses the feed"))
    elif len(feed.description.encode()) > DESCRIPTION_BYTES:
        yield tripped(_("the description is longer than {most} bytes: Apple cuts it").format(most=DESCRIPTION_BYTES))
    if feed.page is None:
        yield Problem(_("the link to the podcast's page is missing: Apple refuses the feed"))


def _category(feed: FeedDocument) -> Iterator[Problem]:
    if feed.category is None:
        yield Problem(_("missing: Apple refuses the feed"))
        return
    known = categories.CATEGORIES.get(feed.category)
    if known is None or (feed.subcategory is not None and feed.subcategory not in known):
        yield Problem(_("Apple knows no such category, and refuses the feed"))


def _language(feed: FeedDocument) -> Iterator[Problem]:
    if feed.language is None:
        yield Problem(_("missing: Apple refuses the feed"))
    elif language_tag(feed.language) is None:
        yield Problem(_("not a code of ISO 639 such as `en`: Apple refuses the feed"))


def _explicit(feed: FeedDocument) -> Iterator[Problem]:
    if feed.explicit not in ("true", "false"):
        yield Problem(_("must be `true` or `false`: Apple refuses the feed"))
    if feed.type not in _TYPES:
        yield tripped(_("the type of the podcast is neither `episodic` nor `serial`"))


def _own_address(feed: FeedDocument, address: str) -> Iterator[Problem]:
    own = feed.links.get("self")
    if own is None:
        yield Problem(_("the feed does not name its own address (`atom:link` with `self`)"))
    elif own != address:
        yield Problem(_("the feed names another address as its own than the one it has: is `web.public_url` right?"))
    if feed.new_address is not None and feed.new_address != address:
        yield tripped(_("the feed says that it has moved (`itunes:new-feed-url`): give directories the new address"))


def _listing(feed: FeedDocument, *, private: bool) -> Iterator[Problem]:
    blocks = [("itunes:block", _says_yes(feed.block)), ("podcast:block", _says_yes(feed.podcast_block))]
    for name, says_yes in blocks:
        if private and not says_yes:
            yield Problem(_("`{tag}` is missing: a directory that finds the feed may list it").format(tag=name))
        if not private and says_yes:
            yield Problem(_("`{tag}` says yes: directories remove the podcast").format(tag=name))
    if private and "hub" in feed.links:
        yield Problem(_("a private feed names a WebSub hub, which would learn its address"))
    if private:
        return
    if feed.guid is None:
        yield tripped(_("`podcast:guid` is missing: the podcast can't be found again after a move"))
    if feed.locked not in (None, "yes", "no"):
        yield tripped(_("`podcast:locked` is neither `yes` nor `no`"))


def _says_yes(text: str | None) -> bool:
    """Return whether a block counts: only this word does."""
    return text is not None and text.lower() == "yes"
