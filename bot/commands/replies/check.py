"""Answers to the commands of `bot.commands.check`. Pure."""

from bot.language import N_

UNDER_WAY = N_("I am already testing the feed, and will say here what I find.")
