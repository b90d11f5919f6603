"""The documents of a feed that does not fit into one (RFC 5005, section 4): whether apps find all of them."""

from collections.abc import Awaitable, Callable

from bot.check.feed_document import FeedDocument
from bot.check.finding import Finding, Problem, judged, tripped
from bot.language import _, plural

MOST_DOCUMENTS = 60


class Archive:
    """The walk from a feed to its older documents. `documents` are those that were read, the feed first."""

    def __init__(self, feed: FeedDocument, address: str, read: Callable[[str], Awaitable[FeedDocument | None]]) -> None:
        self.documents = [feed]
        self._addresses = [address]
        self._read = read

    async def walk(self) -> tuple[Finding, ...]:
        """Read the documents one after the other, as long as there are not too many."""
        problems: list[Problem] = []
        while not problems and len(self.documents) < MOST_DOCUMENTS:
            address = _following(self.documents[-1])
            if address is None:
                break
            if address in self._addresses:
                problems.append(Problem(_("a document leads back to one before: gPodder reads them for ever")))
                break
            document = await self._read(address)
            if document is None:
                problems.append(Problem(_("an older document of the feed can't be read")))
                break
            if document.links.get("self") != address:
                problems.append(tripped(_("an older document names another address as its own")))
            self.documents.append(document)
            self._addresses.append(address)
        return judged(_("archive"), problems, self._fine())

    def _fine(self) -> str:
        if len(self.documents) == 1:
            return _("everything is in the feed")
        if _following(self.documents[-1]) is not None:
            return _("the first {count} documents can be read").format(count=len(self.documents))
        return plural("{count} document can be read", "{count} documents can be read", len(self.documents))


def _following(document: FeedDocument) -> str | None:
    return document.links.get("prev-archive") or document.links.get("next")
