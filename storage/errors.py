"""Errors of a store; the text of each is one plain sentence."""


class StoreError(Exception):
    """A failure of the store; the sentence gives the reason."""


class StoreLockedError(StoreError):
    """A store that another process owns."""


class OwnerLostError(StoreError):
    """The end of this process's ownership of the Matrix session, which another may have taken over."""


class StoreTooNewError(StoreError):
    """A database that a newer version wrote."""


class StoreBusyError(StoreError):
    """A database that can't be used at this moment: another process holds it, or the disk fails."""


class TornTextError(StoreBusyError):
    """A row with bytes in a column of text that are no text."""


class DiskFullError(StoreError):
    """A full disk."""


class ClaimLostError(Exception):
    """A write of a job that this process has no more: it was away for longer than its lease, and the job was given to
    another. No StoreError: trying again would not help."""


class NotEmptyError(StoreError):
    """A folder in which a store was to be made, and that holds something."""


class BackupError(StoreError):
    """A folder that can't be, or is not, a backup of this store."""


class MediaStoreError(StoreError):
    """A media store that can't be used at this moment: it is away, or refuses."""


class MediaHeldError(StoreError):
    """A media store, or a part of one, that holds what another store needs."""
