"""`python -m bot` is the same as `aircheck`."""

from bot.shell.cli import main

main()
