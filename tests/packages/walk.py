"""A walk through the Dockerfile without Docker: `unshare --mount python -m tests.packages.walk FOLDER`, as root.

Each stage is an overlay over this machine's own files, in which a Python of the image's version stands for the image;
the steps are executed in it as they are written. Then the container is started as its user, on a root that is read
only, asked for its health, and stopped. Prints JSON: what was seen.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
PASSED_ON = ("PIP_", "http", "HTTP", "https", "HTTPS", "no_proxy", "NO_PROXY", "SSL_CERT_FILE")
"""Beginnings of variables by which this machine reaches the package index."""
START_S = 60


def steps_of(text: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile with their arguments."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines()]


def ignored_by_docker() -> set[str]:
    """Return the names at the top of the tree that `.dockerignore` lets through."""
    return {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}


@dataclass
class Stage:
    """A stage: its files, and what the steps so far have set."""

    files: Path
    env: dict[str, str]
    workdir: str = "/"
    user: str = "0:0"
    said: dict[str, str] = field(default_factory=dict)

    def command(self, shell: str) -> list[str]:
        env = [f"{name}={value}" for name, value in self.env.items()]
        inside = f"cd {shlex.quote(self.workdir)} && {shell}"
        return [
            "chroot",
            f"--userspec={self.user}",
            "--groups=",
            str(self.files),
            "env",
            "-i",
            *env,
            "sh",
            "-c",
            inside,
        ]

    def run(self, shell: str) -> None:
        passed = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
        line = Stage(self.files, self.env | passed, self.workdir, self.user).command(shell)
        subprocess.run(line, check=True, stdout=sys.stderr)

    def copy(self, arguments: str, stages: dict[str, "Stage"]) -> None:
        words = arguments.split()
        source = ROOT
        if words[0].startswith("--from="):
            source = stages[words.pop(0).removeprefix("--from=")].files
        *names, to = words
        target = self.files / Path(self.workdir, to).relative_to("/")
        for name in names:
            assert source != ROOT or name in ignored_by_docker(), f"{name} is not in the build's context"
            found = source / name.lstrip("/")
            if found.is_dir():
                shutil.copytree(found, target, symlinks=True, dirs_exist_ok=True)
            else:
                goes_into = to.endswith(("/", ".")) or len(names) > 1
                target.mkdir(parents=True, exist_ok=True) if goes_into else target.parent.mkdir(exist_ok=True)
                shutil.copy(found, target / found.name if goes_into else target)


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)  # noqa: S607


def python_folder(version: str) -> Path:
    """Return the folder of a Python of this version; of the one that runs this where there is none."""
    for name in (shutil.which(f"python{version}"), *Path(sys.base_prefix).parent.glob(f"*{version}*/bin/python3")):
        said = subprocess.run(
            [str(name), "-c", "import sys; print(sys.base_prefix, *sys.version_info[:2])"],
            capture_output=True, text=True, check=False,
        ).stdout.split() if name else []  # fmt: skip
        if said[1:] == version.split("."):
            return Path(said[0]) / "bin"
    return Path(sys.base_prefix) / "bin"


def stage_of(image: str, folder: Path) -> Stage:
    """Lay an overlay over this machine's files, with the image's Python in front. Its files are of this machine."""
    wanted = re.fullmatch(r"python:(3\.\d+)-slim.*", image)
    assert wanted is not None, f"the base image {image} is not a slim Python"
    upper, work, files = (folder / name for name in ("upper", "work", "files"))
    for each in (upper, work, files):
        each.mkdir(parents=True)
    options = f"lowerdir=/,upperdir={upper},workdir={work}"
    mount("-t", "overlay", "overlay", "-o", options, str(files))
    for name in ("dev", "proc"):
        mount("--rbind", f"/{name}", str(files / name))
    (files / "root").chmod(0o755)  # where this machine's Python may lie
    return Stage(files, {"PATH": f"{python_folder(wanted[1])}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"})


def build(folder: Path) -> Stage:
    """Take all steps; return the last stage, with what CMD, ENTRYPOINT, HEALTHCHECK, STOPSIGNAL and others say."""
    stages: dict[str, Stage] = {}
    stage = Stage(folder, {})
    for number, (instruction, text) in enumerate(steps_of((ROOT / "Dockerfile").read_text())):
        sys.stderr.write(f"{instruction} {text}\n")
        match instruction:
            case "FROM":
                image, _, name = text.partition(" AS ")
                stage = stages[name or "last"] = stage_of(image, folder / f"stage{number}")
            case "RUN":
                stage.run(text)
            case "COPY":
                stage.copy(text, stages)
            case "ENV":
                for word in shlex.split(text):
                    name, _, value = word.partition("=")
                    stage.env[name] = value.replace("$PATH", stage.env["PATH"])
            case "WORKDIR":
                stage.workdir = text
                (stage.files / text.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "USER":
                stage.user = text
            case "CMD" | "ENTRYPOINT" | "HEALTHCHECK" | "STOPSIGNAL" | "VOLUME" | "EXPOSE" | "LABEL":
                stage.said[instruction] = text
            case _:
                raise AssertionError(f"{instruction} is not known to this walk")
    return stage


def line_of(said: str) -> str:
    return shlex.join(json.loads(said))


def life_of(stage: Stage, environment: dict[str, str]) -> dict[str, Any]:
    """Start the container, wait until it is healthy, stop it; say how it went."""
    running = Stage(stage.files, stage.env | environment, stage.workdir, stage.user)
    health = line_of(stage.said["HEALTHCHECK"].partition("CMD ")[2])
    command = f"exec {line_of(stage.said['ENTRYPOINT'])} {line_of(stage.said['CMD'])}"
    with subprocess.Popen(running.command(command), stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + START_S
        while (code := subprocess.run(running.command(health), check=False, capture_output=True).returncode) != 0:
            if time.monotonic() > until or process.poll() is not None:
                break
            time.sleep(0.5)  # Docker asks at intervals too
        began = time.monotonic()
        process.send_signal(signal.Signals[stage.said["STOPSIGNAL"]])
        log = process.communicate(timeout=30)[1]
        return {"healthy": code == 0, "stopped": process.returncode, "stop_s": time.monotonic() - began, "log": log}


def main(folder: Path) -> None:
    stage = build(folder)
    for name in ("tmp", "data", "config"):
        mode = "mode=1777" if name == "tmp" else "mode=0700,uid=10001,gid=10001"
        mount("-t", "tmpfs", "-o", mode, "tmpfs", str(stage.files / name))
    mount("-o", "remount,ro", str(stage.files))
    environment = {
        "AIRCHECK_MATRIX__HOMESERVER": "http://127.0.0.1:1",
        "AIRCHECK_MATRIX__USER_ID": "@aircheck:example.org",
        "AIRCHECK_MATRIX__PASSWORD": "nobody knows",
        "AIRCHECK_WEB__PUBLIC_URL": "https://radio.example.org",
        "AIRCHECK_WEB__PORT": str(free_port()),
        "AIRCHECK_STORAGE__MIN_FREE_BYTES": "1",
    }
    seen: dict[str, Any] = {"said": stage.said, "user": stage.user}
    inside = Stage(stage.files, stage.env | environment, stage.workdir, stage.user)
    for name, shell in (
        ("version", "aircheck --version"),
        ("id", "id -u; id -g; id -G"),
        ("check", "aircheck check"),
        ("outside", "touch /opt/aircheck/x /home/aircheck/x"),
        ("extras", "python -c 'import aiortc, livekit'"),
    ):
        done = subprocess.run(inside.command(shell), capture_output=True, text=True, check=False)
        seen[name] = [done.returncode, done.stdout + done.stderr]
    seen["life"] = life_of(stage, environment)
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
