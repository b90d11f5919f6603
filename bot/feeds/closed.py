"""The feed of a personal address that is closed: one sentence and no item, so that apps keep nothing of it. Pure.

Most apps stop at the status 410. Some read the body all the same, and would save an error page as an episode.
"""

from lxml import etree

from bot.feeds.podcast_namespace import ITUNES, PODCAST


def closed_feed(title: str, sentence: str, home: str, language: str) -> bytes:
    """Render the feed as UTF-8. `home` is the address of the server's own page, `language` that of the texts."""
    rss = etree.Element("rss", {"version": "2.0"}, nsmap={"itunes": ITUNES, "podcast": PODCAST})
    channel = etree.SubElement(rss, "channel")
    for name, text in (("title", title), ("link", home), ("description", sentence), ("language", language)):
        etree.SubElement(channel, name).text = text
    etree.SubElement(channel, f"{{{ITUNES}}}block").text = "yes"
    etree.SubElement(channel, f"{{{PODCAST}}}block").text = "yes"
    return bytes(etree.tostring(rss, xml_declaration=True, encoding="UTF-8"))
