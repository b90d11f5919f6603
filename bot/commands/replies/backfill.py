"""Answers to the commands of `bot.commands.backfill`. Pure."""

from bot.language import N_

BACKFILL_BEGINS = N_("I am searching this room's history for past broadcasts, and will tell you what I found.")
BACKFILL_UNDER_WAY = N_("I am already searching this room's history, and will tell you what I found.")
