"""An episode's chapters in the JSON format of the podcast namespace, which apps fetch beside the file. Pure.

https://github.com/Podcastindex-org/podcast-namespace/blob/main/docs/examples/chapters/jsonChapters.md
"""

import json
from collections.abc import Sequence

from bot.feeds.text import clean_line
from storage.records import Mark

CHAPTERS = "application/json+chapters"
VERSION = "1.2.0"


def json_chapters(marks: Sequence[Mark], title: str) -> bytes:
    """Write chapters as JSON; the same chapters give the same bytes. `title` is the episode's."""
    chapters = [{"startTime": mark.at / 1000, "title": clean_line(mark.title)} for mark in marks]
    return json.dumps({"version": VERSION, "title": title, "chapters": chapters}, ensure_ascii=False).encode()
