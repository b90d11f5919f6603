"""All commands, in the order of `help`. A new one is a file with VERBS, and a line here."""

from types import MappingProxyType

from bot.commands import (
    announce,
    backfill,
    check,
    confirm,
    consent,
    delete,
    describe,
    episode,
    feed,
    forget,
    language,
    leave,
    listeners,
    manual,
    overview,
    places,
    podcast,
    policies,
    publish,
    record,
    replay,
    retention,
    review,
    studio,
    walkie,
)

VERBS = MappingProxyType(
    {
        verb.name: verb
        for verb in (
            *manual.VERBS,
            *overview.VERBS,
            *feed.VERBS,
            *listeners.VERBS,
            *check.VERBS,
            *record.VERBS,
            *studio.VERBS,
            *replay.VERBS,
            *walkie.VERBS,
            *announce.VERBS,
            *consent.VERBS,
            *forget.VERBS,
            *publish.VERBS,
            *review.VERBS,
            *podcast.VERBS,
            *describe.VERBS,
            *delete.VERBS,
            *retention.VERBS,
            *episode.VERBS,
            *backfill.VERBS,
            *language.VERBS,
            *policies.VERBS,
            *leave.VERBS,
            *confirm.VERBS,
            *places.VERBS,
        )
    }
)  # fmt: skip
