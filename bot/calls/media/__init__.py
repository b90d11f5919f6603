"""The media of calls: connections to devices, and to SFUs, of which only Opus packets come out.

The modules behind the door are imported late, and only where `intake.calls.installed` says that they can be.
"""
