"""Errors of a store; the text of each is one plain sentence."""


class StoreError(Exception):
    """A failure of the store; the sentence gives the reason."""


class StoreLockedError(StoreError):
    """A store that another process owns."""


class StoreTooNewError(StoreError):
    """A database that a newer version wrote."""


class StoreBusyError(StoreError):
    """A database that can't be used at this moment: another process holds it, or the disk fails."""


class DiskFullError(StoreError):
    """A full disk."""
