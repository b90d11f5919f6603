"""Answers to the commands of `bot.commands.backfill`. Pure."""

BACKFILL_BEGINS = "I am searching this room's history for past broadcasts, and will tell you what I found."
BACKFILL_UNDER_WAY = "I am already searching this room's history, and will tell you what I found."
