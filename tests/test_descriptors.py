"""How many files the process may open."""

import subprocess
import sys

CHILD = """
import resource
from bot import descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 900))
assert descriptors.limit() == 100
assert descriptors.raise_limit() == descriptors.limit() == 900
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (900, 900)
"""
COUNTING = """
import os
from bot import descriptors
before = descriptors.used()
with open(os.devnull):
    assert descriptors.used() == before + 1
assert descriptors.used() == before
"""


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    """The limit is raised as far as the system allows."""
    subprocess.run([sys.executable, "-c", CHILD], check=True)


def test_open_files_are_counted() -> None:
    """A file that is opened is one more."""
    subprocess.run([sys.executable, "-c", COUNTING], check=True)  # of its own: threads of other tests open files too
