"""The end of a command that fails: an exit code and one plain sentence."""

from collections.abc import Iterator

from typer.exceptions import Abort, TyperException

from bot.errors import AircheckError
from storage.errors import MediaHeldError, StoreError


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def explain(error: BaseException) -> tuple[int, str]:
    """Give the exit code and the sentence for an error that ended the program.

    The text of another library's exception is never shown: it may hold a secret.
    """
    leaves = list(_leaves(error))
    for leaf in leaves:
        if isinstance(leaf, AircheckError):
            return leaf.exit_code, leaf.sentence
        if isinstance(leaf, StoreError):
            return (2 if isinstance(leaf, MediaHeldError) else 1), str(leaf)
        if isinstance(leaf, TyperException):
            return leaf.exit_code, " ".join(leaf.format_message().split())
        if isinstance(leaf, Abort | KeyboardInterrupt | EOFError):
            return 130, "stopped"
    return 1, f"unexpected error ({type(leaves[0]).__name__}): run the command again with --debug for a traceback"
