"""Compares the lock files with known vulnerabilities, with pip-audit in an environment of its own.

Exits with 1 if a locked package has a known vulnerability that is not in `ACCEPTED`. A database that cannot be reached
does not fail the run, and does not count as a good result either: the output says how many packages were not compared.
"""

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-build.lock")
TIMEOUT_S = 120  # for each of the two programs
ACCEPTED = {
    "pillow": "held back by simplematrixbotlib; opens no stranger's file (docs/dependencies.md)",
}


def verdict(answer: str | None) -> tuple[list[str], int]:
    """Return the lines to print for pip-audit's JSON, and the exit code. `answer` is None if there was none."""
    packages = _packages(answer)
    if not packages:
        return ["audit: NOT COMPARED with known vulnerabilities: no database could be reached"], 0
    lines, code, compared = [], 0, 0
    for package in packages:
        if not isinstance(package.get("vulns"), list):
            continue  # pip-audit skipped the package
        compared += 1
        name, version = package.get("name"), package.get("version")
        for advisory in package["vulns"]:
            fixed = ", ".join(advisory.get("fix_versions") or ()) or "no version"
            line = f"audit: {name} {version}: {advisory.get('id')}, fixed in {fixed}"
            accepted = ACCEPTED.get(str(name).lower())
            lines.append(f"{line}; accepted: {accepted}" if accepted else line)
            code |= accepted is None
    skipped = len(packages) - compared
    if skipped:
        lines.append(f"audit: NOT COMPARED with known vulnerabilities: {skipped} of {len(packages)} packages")
    lines.append(f"audit: {compared} packages compared, {'vulnerabilities found' if code else 'nothing new found'}")
    return (lines if compared else lines[:-1]), int(code)


def _packages(answer: str | None) -> list[dict[str, Any]]:
    try:
        dependencies = json.loads(answer or "")["dependencies"]
        return [package for package in dependencies if isinstance(package, dict)]
    except (ValueError, KeyError, TypeError):
        return []


def ask() -> str | None:
    """Return pip-audit's JSON, or None if it cannot be had.

    The messages of pip and pip-audit are not shown, since they name the addresses of package indexes.
    """
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "bin" / "python"
        locks = [part for lock in LOCKS for part in ("-r", str(ROOT / lock))]
        try:
            venv.create(folder, with_pip=True)
            _quietly([str(python), "-m", "pip", "install", "--quiet", "pip-audit"], check=True)
            command = [str(python), "-m", "pip_audit", *locks, "--disable-pip", "--require-hashes"]
            return _quietly([*command, "--progress-spinner", "off", "--format", "json"], check=False)
        except (OSError, subprocess.SubprocessError):
            return None


def _quietly(command: list[str], *, check: bool) -> str:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=TIMEOUT_S, check=check
    )
    return done.stdout


if __name__ == "__main__":
    lines_to_print, exit_code = verdict(ask())
    sys.stdout.write("\n".join([*lines_to_print, ""]))
    sys.exit(exit_code)
