"""Run a command that tests, and what failed of it once more, alone: `.ci/steady.py COMMAND…`.

The machines of continuous integration run other work beside it, and of nine thousand tests, many of them about real
processes, one may meet a moment that it was not made for. So one or two failures are tried again, without other tests
beside them: what fails twice fails the run; what passes then is named as UNSTABLE, to be mended. More failures, and all
that is no failure of a test, fail the run at once. `make test` itself tries nothing again.
"""

import re
import subprocess
import sys
from pathlib import Path

MOST = 2
FAILED = re.compile(r"(?:FAILED|ERROR) (tests/\S+\.py::[^\s\[]+(?:\[.*?\])?)(?: - .*)?")
SUMMARY = re.compile(r"=+ .*\b\d+ passed\b.* in [0-9.]+s.*=+")
"""The last line of a run that came to its end."""


def run(command: list[str]) -> tuple[int, list[str]]:
    """Run a command, whose output is passed on as it comes; return its exit status and its lines."""
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as it:
        assert it.stdout is not None
        for line in it.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            lines.append(line.rstrip("\n"))
    return it.returncode, lines


def say(what: str) -> None:
    sys.stdout.write(f"steady: {what}\n")
    sys.stdout.flush()


def failures(lines: list[str]) -> list[str]:
    """Return the tests that failed in the one run of pytest that these lines hold; none if it did not end."""
    if sum(SUMMARY.fullmatch(line) is not None for line in lines) != 1:
        return []
    return sorted({found[1] for line in lines if (found := FAILED.fullmatch(line)) is not None})


def main() -> int:
    status, lines = run(sys.argv[1:])
    failed = failures(lines) if status else []
    if not 0 < len(failed) <= MOST:
        return status
    say(f"trying again, alone: {', '.join(failed)}")
    python = ".venv/bin/python" if Path(".venv/bin/python").exists() else sys.executable
    again, _ = run([python, "-m", "pytest", "-q", "-m", "", *failed])
    verdict = "UNSTABLE, to be mended" if again == 0 else "failed twice"
    for name in failed:
        say(f"{verdict}: {name}")
    return again


if __name__ == "__main__":
    sys.exit(main())
