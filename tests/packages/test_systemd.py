"""The units for systemd: valid, exposed little, and with a sandbox in which everything works that the bot does.

The last is shown by a systemd that is booted in namespaces of its own, which needs root.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command

from bot.settings import validate
from bot.shell.cli import app
from bot.sources import from_environment

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "aircheck.service"
BESIDE = {"aircheck-web@.service": "8041", "aircheck-work@.service": "4"}
"""Templates for processes beside the bot, each with an instance of it."""
UNITS = (UNIT, *(UNIT.with_name(name) for name in BESIDE))
MOST_EXPOSED = 1.5
TARGET = """[Unit]
DefaultDependencies=no
Wants=aircheck.service
"""
HERE = """[Unit]
DefaultDependencies=no
SuccessAction=exit-force
FailureAction=exit-force
Wants=
After=
[Service]
Type=oneshot
Restart=no
User=nobody
Group=nogroup
ProtectHome=tmpfs
BindReadOnlyPaths={python}
WorkingDirectory={root}
Environment=PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
StandardOutput=file:{said}
StandardError=file:{said}
ExecStart=
ExecStart={command}
"""
"""Changes to the unit: a Python that may lie in a home, another account, and another command. The sandbox stays."""
WORK = {
    "calls": "pytest -q -p no:cacheprovider tests/calls/media/test_rtc.py",
    "limits of ffmpeg": "pytest -q -p no:cacheprovider tests/audio/test_child.py tests/audio/test_ffmpeg.py"
    " -k 'test_child or earned or limit or refused or bound or described'",
    "metrics": "pytest -q -p no:cacheprovider tests/monitoring/test_endpoint.py -k what_is_exported",
    "a whole demo": "bot demo --once --directory /var/lib/aircheck/demo",
}

analyzes = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def instance(unit: Path) -> str:
    """Return the name of a unit as it is started."""
    return unit.name.replace("@", f"@{BESIDE.get(unit.name, '')}")


def values(unit: Path, key: str) -> list[str]:
    """Return the values of an option, for an instance of the unit."""
    found = re.findall(rf"^{key}=(.*)$", unit.read_text(), re.MULTILINE)
    return [value.replace("%i", BESIDE.get(unit.name, "")) for value in found]


each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)


@each_unit
def test_the_command_and_the_settings_of_the_unit_exist(unit: Path) -> None:
    """ExecStart is a command of ours with options that it has; the settings know every variable."""
    (line,) = values(unit, "ExecStart")
    program, *arguments = line.split()
    assert program == "/opt/aircheck/.venv/bin/aircheck"
    parsed(arguments)
    variables = dict(each.split("=") for line in values(unit, "Environment") for each in line.split())
    assert all(name.startswith("AIRCHECK_") for name in variables)
    validate({"matrix": {"homeserver": "https://hs", "user_id": "@a:hs"}} | from_environment(variables))


def parsed(arguments: Sequence[str]) -> None:
    """Have the shell parse a command line, and carry out nothing. Raises TyperException."""
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    with group.make_context("aircheck", [*arguments], resilient_parsing=False) as context:
        name, command, rest = group.resolve_command(context, [*arguments])
        assert command is not None
        command.make_context(name, rest, parent=context).close()


@pytest.mark.parametrize("wrong", [["serve"], ["web", "--jobs", "4"], ["work", "--jobs", "many"], ["run", "x"]])
def test_a_command_that_does_not_exist_is_noticed(wrong: list[str]) -> None:
    """The test above fails for a command or an option that the program does not have."""
    with pytest.raises(TyperException):
        parsed(wrong)


@pytest.mark.parametrize("name", BESIDE)
def test_processes_beside_the_bot_have_its_sandbox(name: str) -> None:
    """Their units differ from that of the bot in what they start, not in the sandbox, the account and the folders."""
    own, bots = (set(options(path)) for path in (UNIT.with_name(name), UNIT))
    assert {line.partition("=")[0] for line in own ^ bots} == {
        *("Description", "Documentation", "EnvironmentFile", "ExecStart"),
        *(["Environment"] if "web" in name else []),
    }


def options(unit: Path) -> list[str]:
    return [line for line in unit.read_text().splitlines() if line and not line.startswith(("#", "["))]


@analyzes
@each_unit
def test_the_unit_is_valid(unit: Path, tmp_path: Path) -> None:
    """`systemd-analyze verify` finds nothing in it, but that no Aircheck is installed where it says."""
    text = unit.read_text().replace("/opt/aircheck/.venv/bin/aircheck", "/bin/true")
    unit = tmp_path / instance(unit)
    unit.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)  # noqa: S607
    assert (done.returncode, done.stderr) == (0, "")


@analyzes
@each_unit
def test_the_unit_exposes_little(unit: Path, tmp_path: Path) -> None:
    """`systemd-analyze security` counts an exposure of 1.5 of 10 at most."""
    copy = Path(shutil.copy(unit, tmp_path / instance(unit)))
    line = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(copy)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    found = re.search(rf"Overall exposure level for {re.escape(copy.name)}: ([\d.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= MOST_EXPOSED


@pytest.mark.packages
@pytest.mark.parametrize("work", WORK)
def test_everything_works_in_the_sandbox_of_the_unit(work: str, tmp_path: Path) -> None:
    """Calls over UDP with DTLS, ffmpeg under its limits, metrics of the process, and a homeserver, a bot with its
    database and an episode."""
    if os.geteuid() or not Path("/lib/systemd/systemd").exists() or shutil.which("unshare") is None:
        pytest.skip("no systemd can be booted here")
    units, said = tmp_path / "units", Path("/tmp") / f"aircheck-{os.getpid()}-said"
    (units / "aircheck.service.d").mkdir(parents=True)
    shutil.copy(UNIT, units)
    (units / "test.target").write_text(TARGET)
    python = Path(sys.executable).resolve().parents[1]
    command = f"{sys.executable} -m {WORK[work]}"
    (units / "aircheck.service.d" / "here.conf").write_text(
        HERE.format(python=python, root=ROOT, said=said, command=command)
    )
    line = ["timeout", "--signal=INT", "300", str(Path(__file__).parent / "boot.sh"), str(units)]
    try:
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (said.read_text()[-3000:] if said.exists() else "") + done.stderr[-1000:]
    finally:
        said.unlink(missing_ok=True)
