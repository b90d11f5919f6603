"""The second try of continuous integration (`.ci/steady.py`): for one or two failed tests, and for nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

STEADY = Path(__file__).parent.parent / ".ci" / "steady.py"
PASSES = "def test_passes():\n    pass\n"
UNSTABLE = """
def test_of_a_bad_moment():
    from pathlib import Path
    met = Path("met")
    if not met.exists():
        met.touch()
        assert False, "the first time - it fails"
"""
FAILS = "import pytest\n@pytest.mark.parametrize('what', ['a - b', 'c'])\ndef test_fails(what):\n    assert False\n"


def run(folder: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    (folder / "tests").mkdir()
    (folder / "pytest.ini").touch()
    for number, text in enumerate(tests):
        (folder / "tests" / f"test_{number}.py").write_text(text)
    command = [sys.executable, str(STEADY), sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", "tests"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_what_passes_is_not_tried_again(tmp_path: Path) -> None:
    """A run without a failure passes, and nothing is tried again."""
    done = run(tmp_path, PASSES)
    assert done.returncode == 0
    assert "steady" not in done.stdout


def test_a_bad_moment_is_named(tmp_path: Path) -> None:
    """A test that fails once and passes alone is named, and does not fail the run."""
    done = run(tmp_path, PASSES, UNSTABLE)
    assert done.returncode == 0
    assert "steady: UNSTABLE, to be mended: tests/test_1.py::test_of_a_bad_moment" in done.stdout


def test_what_fails_twice_fails(tmp_path: Path) -> None:
    """Tests that fail again fail the run, whatever their names hold."""
    done = run(tmp_path, PASSES, FAILS)
    assert done.returncode == 1
    assert done.stdout.count("steady: failed twice: tests/test_1.py::test_fails[") == 2


@pytest.mark.parametrize("tests", [(PASSES, UNSTABLE, FAILS), (PASSES, "import nothing_of_this_name\n"), (UNSTABLE,)])
def test_more_is_not_tried_again(tests: tuple[str, ...], tmp_path: Path) -> None:
    """Three failures, tests that can't be collected, and a run of which nothing passed fail at once."""
    done = run(tmp_path, *tests)
    assert done.returncode != 0
    assert "steady" not in done.stdout
