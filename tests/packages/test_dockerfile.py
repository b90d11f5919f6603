"""The container image: its Dockerfile is read, and walked through in a plain folder."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from sqlalchemy import make_url

from tests.packages.test_systemd import parsed
from tests.packages.walk import ignored_by_docker, steps_of

ROOT = Path(__file__).parents[2]
STEPS = steps_of((ROOT / "Dockerfile").read_text())
SAID = dict(STEPS)


def test_the_image_is_built_of_locked_packages_in_a_stage_of_its_own() -> None:
    """The last stage has no compiler, no pip cache and no source: it copies what an earlier one installed by hashes. By
    hashes it also got what builds the package, which is not copied."""
    stages = [text for instruction, text in STEPS if instruction == "FROM"]
    assert len(stages) == 2
    assert len({re.sub(r" AS .*", "", text) for text in stages}) == 1
    installs = [text for instruction, text in STEPS if instruction == "RUN" and "pip install" in text]
    by_hashes, from_here = "--require-hashes -r ", "--no-deps --no-index /"
    assert all((by_hashes in text) != (from_here in text) for text in installs)
    assert {name for text in installs for name in re.findall(rf"{by_hashes}(\S+)", text)} == {
        "requirements.lock",
        "requirements-build.lock",
    }
    last = STEPS[[number for number, (name, _) in enumerate(STEPS) if name == "FROM"][-1] :]
    assert [text for name, text in last if name == "COPY"] == ["--from=build /opt/aircheck /opt/aircheck"]
    assert "aiortc==" in (ROOT / "requirements.lock").read_text()


def test_what_builds_the_package_is_locked() -> None:
    """requirements-build.lock pins what pyproject.toml requires for a build, and what that needs itself, as
    requirements-dev.lock does; the range has an upper end."""
    (required,) = map(Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"])
    assert any(each.operator == "<" for each in required.specifier)
    locked, all_locked = (pins(ROOT / f"requirements-{name}.lock") for name in ("build", "dev"))
    needed, names = [required.name], set[str]()
    while needed:
        if (name := needed.pop()) not in names:
            names.add(name)
            found = map(Requirement, requires(name) or ())
            needed += [each.name for each in found if each.marker is None or each.marker.evaluate({"extra": ""})]
    assert locked.keys() >= names
    assert locked == {name: all_locked[name] for name in locked}
    assert required.specifier.contains(locked[required.name].split()[0])


def pins(lock: Path) -> dict[str, str]:
    """Return the packages of a lock, each with its version and hashes."""
    entries = re.split(r"\n(?=\S)", lock.read_text().replace("\\\n", ""))
    return {name: rest for name, _, rest in (entry.strip().partition("==") for entry in entries) if rest}


def test_the_container_runs_as_a_number_that_is_not_root() -> None:
    """Kubernetes' `runAsNonRoot` wants a number; data and health, stop and labels are declared."""
    assert SAID["USER"] == "10001:10001"
    assert SAID["VOLUME"] == "/data"
    assert SAID["STOPSIGNAL"] == "SIGTERM"
    assert "org.opencontainers.image.licenses" in SAID["LABEL"]
    assert "AIRCHECK_WEB__PORT" in SAID["HEALTHCHECK"]


def test_what_is_copied_is_in_the_context() -> None:
    """`.dockerignore` lets through what the Dockerfile copies, and neither settings nor data."""
    copied = {name for step, text in STEPS if step == "COPY" and "--from" not in text for name in text.split()[:-1]}
    assert copied == ignored_by_docker()
    assert all((ROOT / name).exists() for name in copied)


def test_the_example_of_compose_is_as_strict_as_the_image_allows() -> None:
    """deploy/compose.yaml has a root that is read only, no capabilities, and time to stop; docs/deploy.md shows it."""
    text = (ROOT / "deploy" / "compose.yaml").read_text()
    service = yaml.safe_load(text)["services"]["aircheck"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert any(volume.endswith(":/data") for volume in service["volumes"])
    assert "user" not in service
    assert text.split("services:")[1] in (ROOT / "docs" / "deploy.md").read_text()


def test_the_example_of_compose_with_many_processes_is_as_strict() -> None:
    """Each container of the image in deploy/compose-many.yaml is as strict as the bot's, and shares its settings and
    media; its command is one of ours, and one without a web server is not asked for its health."""
    deploy = ROOT / "deploy"
    bot = yaml.safe_load((deploy / "compose.yaml").read_text())["services"]["aircheck"]
    services = yaml.safe_load((deploy / "compose-many.yaml").read_text())["services"]
    ours = {name: each for name, each in services.items() if each.get("image") == "aircheck"}
    assert {name: each["command"][0] for name, each in ours.items()} == {"web": "web", "work": "work"}
    for service in ours.values():
        parsed(service["command"])
        apart = {"command", "depends_on", "ports", "deploy", "healthcheck"}
        assert {key: service[key] for key in service.keys() - apart} == {
            key: bot[key] for key in bot.keys() - {"build", "ports"}
        }
    assert ours["work"]["healthcheck"] == {"disable": True}
    assert "healthcheck" not in ours["web"]
    assert services["aircheck"].keys() == {"depends_on"}
    address = re.search(r"AIRCHECK_STORAGE__DATABASE_URL=(\S+)", (deploy / "compose-many.yaml").read_text())
    assert address is not None
    database = make_url(address[1])
    environment = services["database"]["environment"]
    assert (database.host, database.username, database.database) == (
        "database", environment["POSTGRES_USER"], environment["POSTGRES_DB"],
    )  # fmt: skip


@pytest.mark.packages
def test_a_walk_through_the_dockerfile_gives_a_container_that_lives(tmp_path: Path) -> None:
    """Built step by step; started as its user on a root that is read only; healthy without its homeserver; stopped at
    once."""
    if os.geteuid() or shutil.which("unshare") is None:
        pytest.skip("overlays can't be mounted here")
    line = ["unshare", "--mount", sys.executable, "-m", "tests.packages.walk", str(tmp_path)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout)
    assert seen["version"][0] == 0
    assert seen["version"][1].startswith("aircheck ")
    assert seen["id"][1].split() == ["10001", "10001", "10001"]
    assert seen["extras"][0] == 0
    assert seen["outside"][0] != 0
    code, said = seen["check"]
    assert code == 1  # the homeserver is not there
    assert {line.split()[0] for line in said.splitlines() if "ffmpeg" in line or "database" in line} == {"ok"}
    life = seen["life"]
    assert life["healthy"], life["log"]
    assert life["stopped"] == 0, life["log"]
    assert life["stop_s"] < 5
