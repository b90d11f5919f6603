"""Calls: the bot joins them as a visible member, and records each speaker apart."""
