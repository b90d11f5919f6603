"""Errors of a store; the text of each is one plain sentence."""


class StoreError(Exception):
    """The store can't be used: the sentence says why."""


class StoreLockedError(StoreError):
    """Another process owns the store."""


class StoreTooNewError(StoreError):
    """The database was written by a newer version."""


class StoreBusyError(StoreError):
    """The database can't be used at this moment: another process holds it, or the disk fails."""


class DiskFullError(StoreError):
    """The disk is full."""
