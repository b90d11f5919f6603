"""`python -m bot` is the same as `aircheck`."""

from bot.cli import main

main()
