"""Studios: broadcasts that members make beside the homeserver, from a page, a source client or the shell.

A studio is a source and no second recorder: it writes into the journal what a client would send, as events of our own
(`bot.dialects.studio`). From there on its broadcast is one like any other.
"""
