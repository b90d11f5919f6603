"""All commands, in the order of `help`. A new one is a file with VERBS, and its line here."""

from types import MappingProxyType

from bot.commands import backfill, feed, manual, overview, publish, record

VERBS = MappingProxyType(
    {
        verb.name: verb
        for verb in (*manual.VERBS, *overview.VERBS, *feed.VERBS, *record.VERBS, *publish.VERBS, *backfill.VERBS)
    }
)  # fmt: skip
