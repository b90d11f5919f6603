"""The memory of a bot at rest."""

import subprocess
import sys

DEAR = {"alembic", "asyncpg", "mutagen", "numpy", "obstore", "prometheus_client", "pygments", "soxr"}
"""Libraries of some megabytes each that a bot without anything to record, upgrade or measure does not need."""


def test_what_is_not_needed_is_not_imported() -> None:
    """The program imports libraries for sound, upgrades, PostgreSQL, S3 and metrics only where they are used."""
    listing = "import sys, bot.app; print(*{name.partition('.')[0] for name in sys.modules})"
    made = subprocess.run([sys.executable, "-c", listing], check=True, capture_output=True, text=True)
    assert DEAR.isdisjoint(made.stdout.split())
