"""The wire formats of calls: raw JSON to messages, and back. Pure."""
