"""The feed of a personal address that is closed: one sentence and no item, so that apps keep nothing of it. Pure.

Most apps stop at the status 410. Some read the body all the same, and would save an error page as an episode.
"""

from xml.etree import ElementTree

from bot.feeds.namespaces import ITUNES, PODCAST


def closed_feed(title: str, sentence: str, home: str, language: str) -> bytes:
    """Render the feed as UTF-8. `home` is the address of the server's own page, `language` that of the texts."""
    rss = ElementTree.Element("rss", {"xmlns:itunes": ITUNES, "xmlns:podcast": PODCAST, "version": "2.0"})
    channel = ElementTree.SubElement(rss, "channel")
    for name, text in (("title", title), ("link", home), ("description", sentence), ("language", language)):
        ElementTree.SubElement(channel, name).text = text
    for name in ("itunes:block", "podcast:block"):
        ElementTree.SubElement(channel, name).text = "yes"
    return bytes(ElementTree.tostring(rss, encoding="UTF-8", xml_declaration=True))
