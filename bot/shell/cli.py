"""The command line: arguments, exit codes, and one plain sentence for each error.

Exit codes: 0 done; 1 failed at run time; 2 an argument or a setting is wrong. Heavy modules are imported by the
command that needs them, so that `aircheck --help` answers at once.
"""

import asyncio
import io
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime, time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.errors import AircheckError, ConfigError, StartError
from bot.shell.exits import explain

if TYPE_CHECKING:
    from bot.settings import Settings

app = typer.Typer(
    help="Keeps what people say in Matrix rooms and publishes it as podcasts.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="The settings; config.yaml in this folder by default."),
]
Debug = Annotated[bool, typer.Option("--debug", help="Log everything and show tracebacks.")]
Profile = Annotated[
    bool,
    typer.Option(
        "--profile", help="Log once a minute what is slow, and write it to profile….folded in storage.directory."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"aircheck {version('matrix-aircheck')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Debug = False,
) -> None:
    if context.invoked_subcommand is None:
        single = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
        commands = ", ".join([*single, *(group.name for group in app.registered_groups if group.name)])
        raise ConfigError(f"name a command: {commands} (`aircheck --help` explains them)")


def _settings(config: Path | None, debug: bool) -> "Settings":
    """Load the settings and set up the log as they say. Raises ConfigError."""
    from bot import language, log
    from bot.sources import load

    settings = load(config)
    log.configure(settings.log, debug=debug)
    language.configure(settings.feeds.language)
    return settings


@app.command()
def run(config: ConfigFile = None, profile: Profile = False, debug: Debug = False) -> None:
    """Run the bot and its web server.

    SIGTERM or SIGINT stops them; everything is written within 5 s.
    """
    from bot.memory import loading

    with loading():
        settings = _settings(config, debug)
        from bot import app as application

    asyncio.run(application.run(settings, profile=profile))


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Check the first finished episode, then end.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The web server's port; 0 takes a free one.")] = 0,
    directory: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep everything in this folder, new or empty."),
    ] = None,
    debug: Debug = False,
) -> int:
    """Show a broadcast becoming a podcast, with nothing configured.

    Starts a homeserver, a room, a broadcast and its podcast, reachable from this machine only.
    """
    from importlib.util import find_spec

    if find_spec("synapse") is None:
        raise StartError("the demo needs a homeserver of its own: pip install 'matrix-aircheck[demo]'")
    from rich.console import Console

    from bot import log
    from bot.demo.demo import run_demo
    from bot.settings import LogSettings

    log.configure(LogSettings(level="warning"), debug=debug)
    return asyncio.run(run_demo(once=once, port=port, directory=directory, out=Console(highlight=False)))


@app.command()
def init(
    config: ConfigFile = None,
    homeserver: Annotated[
        str | None, typer.Option(metavar="URL", help="The homeserver's address or server name.")
    ] = None,
    user_id: Annotated[str | None, typer.Option(metavar="MXID", help="The bot's account.")] = None,
    password_file: Annotated[str | None, typer.Option(metavar="FILE", help="A file that holds its password.")] = None,
    public_url: Annotated[str | None, typer.Option(metavar="URL", help="Where listeners reach the feeds.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file without asking.")] = False,
    reset_identity: Annotated[
        bool, typer.Option("--reset-identity", help="Only replace the account's cross-signing keys.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Write the settings file, asking for what it needs.

    Without a terminal the values come from the options, or from the environment (AIRCHECK_MATRIX__PASSWORD and so on).
    """
    if reset_identity:
        settings = _settings(config, debug)
        from bot.shell import reset

        if sys.stdin.isatty():
            typer.confirm(
                f"Other sessions of {settings.matrix.user_id} will no longer be verified. Continue?", abort=True
            )
        asyncio.run(reset.reset_identity(settings))
        print(f"{settings.matrix.user_id} has new cross-signing keys, which sign the bot's device.")
        return
    from bot.shell import init as configure

    options = configure.Options(homeserver, user_id, password_file, public_url)
    configure.write_settings(config, options, overwrite=overwrite)


@app.command()
def check(
    config: ConfigFile = None,
    feed: Annotated[
        str | None,
        typer.Option("--feed", metavar="ROOM", help="Test this room's feed, by the room's id, as directories would."),
    ] = None,
    debug: Debug = False,
) -> int:
    """Test the settings and everything that they name; with --feed, a room's feed.

    Prints one line for each: ok, warn or FAIL. Exit code 1 if there is a FAIL. A feed is fetched through
    web.public_url, as Apple, Spotify and podcast apps fetch it.
    """
    settings = _settings(config, debug)
    from bot.check.finding import Level
    from bot.shell.check import findings
    from bot.shell.check_feed import feed_findings
    from bot.sources import DEFAULT_FILE

    async def print_findings() -> bool:
        failed = False
        found = findings(settings, config or DEFAULT_FILE) if feed is None else feed_findings(settings, feed)
        async for finding in found:
            print(finding, flush=True)
            failed |= finding.level is Level.FAIL
        return failed

    return int(asyncio.run(print_findings()))


@app.command()
def backfill(
    room: Annotated[str, typer.Argument(metavar="ROOM", help="The room, by its id.")],
    since: Annotated[
        str | None,
        typer.Option(
            metavar="DATE", help="Skip what began before this day: 2026-01-31, 31.1.2026, `yesterday`, `2 weeks ago`."
        ),
    ] = None,
    config: ConfigFile = None,
    debug: Debug = False,
) -> None:
    """Find past broadcasts in a room's history and record them.

    A running bot does the work; without one, this command does.
    """
    settings = _settings(config, debug)
    began = _day("--since", since, settings) if since is not None else None
    from bot.shell import handover

    print(asyncio.run(handover.backfill(settings, room, began)))


@app.command()
def broadcast(
    room: Annotated[str, typer.Argument(metavar="ROOM", help="The room, by its id.")],
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="Sound of any common kind; - for standard input.")],
    speaker: Annotated[
        str | None,
        typer.Option("--as", metavar="USER", help="Who speaks: a member who may broadcast there; by default the bot."),
    ] = None,
    title: Annotated[str | None, typer.Option("--title", metavar="TEXT", help="The title of the episode.")] = None,
    description: Annotated[str | None, typer.Option("--description", metavar="TEXT", help="Its description.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="As fast as it goes, not in real time.")] = False,
    config: ConfigFile = None,
    debug: Debug = False,
) -> None:
    """Broadcast a file, or what another program pipes in, into a room.

    It is live at once, and an episode when the sound ends, or at Ctrl-C. A running bot goes on with its own work
    beside; without one, this command runs it meanwhile.
    """
    settings = _settings(config, debug)
    from bot.shell import broadcast as broadcasting

    options = broadcasting.checked(room, file, title=title, description=description, speaker=speaker, fast=fast)
    print(asyncio.run(broadcasting.broadcast(settings, options)))


@app.command()
def rebuild(
    recording: Annotated[
        str, typer.Argument(metavar="RECORDING", help="The recording: its code, `last`, or its event id.")
    ],
    config: ConfigFile = None,
    debug: Debug = False,
) -> None:
    """Make an episode again from its stored chunks.

    Its GUID and address stay. A running bot does the work; without one, this command does.
    """
    settings = _settings(config, debug)
    from bot.shell import handover

    print(asyncio.run(handover.rebuild(settings, recording)))


@app.command()
def prune(
    config: ConfigFile = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would go, and change nothing.")] = False,
    debug: Debug = False,
) -> None:
    """Delete now what retention ends, as happens once a day.

    Prints one line for each recording: code, room, reason. Rooms are told before a recording goes, so one of which
    they were not told yet only gets a line that says when it will. A running bot does the work; without one, this
    command does.
    """
    settings = _settings(config, debug)
    from bot.shell import prune as pruning

    asyncio.run(pruning.prune(settings, dry_run=dry_run))


def _day(option: str, text: str, settings: "Settings") -> datetime:
    """Read the beginning of a day of the past. Raises ConfigError with the right forms."""
    from bot.dates import Misread, read_past_day
    from bot.language import speaking

    zone = settings.feeds.zone
    with speaking(settings.feeds.language):
        day = read_past_day(text, datetime.now(UTC), zone)
    if not isinstance(day, Misread):
        return datetime.combine(day, time(), zone)
    raise ConfigError(
        f"{option}: write a day of the past (this one is {day.value}), such as 2026-01-31, 31.1.2026, yesterday "
        "or 2 weeks ago"
    )


@app.command("move-store")
def move_store(
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="URL",
            envvar="AIRCHECK_MOVE_TO",
            show_envvar=False,
            help="An empty database: postgresql+asyncpg://…, or sqlite; else AIRCHECK_MOVE_TO.",
        ),
    ] = None,
    media_to: Annotated[
        str | None,
        typer.Option("--media-to", metavar="URL", help="A bucket: s3://BUCKET/PREFIX?…, or folder."),
    ] = None,
    config: ConfigFile = None,
    debug: Debug = False,
) -> None:
    """Move the archive's rows to PostgreSQL, or back to SQLite, or its media to a bucket, or back, while no bot runs.

    Compares what was written, then says which setting to change; what was there before stays as it is.
    """
    if (to is None) == (media_to is None):
        raise ConfigError("give --to or --media-to: rows and media are moved one after the other")
    settings = _settings(config, debug)
    from bot.shell import move_media, move_store

    print(asyncio.run(move_store.move_store(settings, to) if to else move_media.move_media(settings, media_to or "")))


addresses = typer.Typer(help="Listeners' personal addresses.", no_args_is_help=True)
app.add_typer(addresses, name="addresses")


@addresses.command("renew-all")
def renew_all(config: ConfigFile = None, debug: Debug = False) -> None:
    """End all personal addresses; listeners get new ones when they ask.

    This works even if addresses.key is lost or damaged.
    """
    settings = _settings(config, debug)
    from bot.shell import handover

    print(asyncio.run(handover.renew_addresses(settings)))


keys = typer.Typer(help="Room keys of the bot.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@keys.command("import")
def import_keys(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Room keys exported by another client.")],
    config: ConfigFile = None,
    debug: Debug = False,
) -> None:
    """Import room keys that another client exported; recordings that waited for them heal.

    Prints one line with the reason for each entry that can't be imported. Exit code 1 if none can. The passphrase is
    asked for, or taken from AIRCHECK_KEYS_PASSPHRASE.
    """
    settings = _settings(config, debug)
    passphrase = os.environ.get("AIRCHECK_KEYS_PASSPHRASE")
    if passphrase is None and not sys.stdin.isatty():
        raise ConfigError("the passphrase is needed: set AIRCHECK_KEYS_PASSPHRASE")
    from bot.shell import handover

    if passphrase is None:
        passphrase = typer.prompt("Passphrase", hide_input=True)
    report = asyncio.run(handover.import_keys(settings, file, passphrase))
    for refusal in report.refused:
        print(refusal)
    if not report.new and not report.known:
        raise AircheckError(f"{file}: no room key in it could be taken")
    print(report.summary)


@app.command()
def verify(
    config: ConfigFile = None,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended, and print what is left.")] = False,
    debug: Debug = False,
) -> int:
    """Compare every file with its hash, every ledger with its files, every row with its file.

    Prints one line for each fault; exit code 1 if one is left. With --repair, episodes, frames and pictures are made
    again, chunks are requested from the homeserver again, and files that nothing names are removed.
    """
    settings = _settings(config, debug)
    from bot.shell import verify as verifying

    return int(asyncio.run(verifying.verify(settings, repair=repair)) > 0)


@app.command()
def backup(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="New, empty, or an earlier backup.")],
    config: ConfigFile = None,
    debug: Debug = False,
) -> None:
    """Copy everything into a folder, also while the bot runs.

    Into an earlier backup only what changed is copied, and what was deleted is deleted there too. The folder then holds
    decrypted audio, room keys and the secret of personal addresses: keep it as private as the data folder.
    """
    settings = _settings(config, debug)
    from bot.shell import backup as backing_up

    print(asyncio.run(backing_up.backup(settings, directory)))


@app.command()
def restore(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="The folder of a backup.")],
    renew_addresses: Annotated[
        bool, typer.Option("--renew-addresses", help="End all personal addresses: ended ones would work again.")
    ] = False,
    config: ConfigFile = None,
    debug: Debug = False,
) -> None:
    """Make the data folder out of a backup; it must be empty.

    The next `run` logs in as a new device. Podcasts stay closed until it has read what happened since the backup.
    """
    settings = _settings(config, debug)
    from bot.shell import restore as restoring

    print(asyncio.run(restoring.restore(settings, directory, renew=renew_addresses)))


@app.command()
def recordings(
    config: ConfigFile = None,
    room: Annotated[str | None, typer.Option(metavar="ROOM", help="Only this room, by its id.")] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List the recordings, newest first.

    With --json each comes with its ledger, chunk by chunk.
    """
    settings = _settings(config, debug)
    from bot.shell import listings

    asyncio.run(listings.print_recordings(settings, room_id=room, as_json=as_json))


@app.command()
def rooms(config: ConfigFile = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """List the rooms and their policies."""
    settings = _settings(config, debug)
    from bot.shell import listings

    asyncio.run(listings.print_rooms(settings, as_json=as_json))


@app.command()
def export(
    what: Annotated[
        str,
        typer.Argument(metavar="consent|ROOM|RECORDING", help="The log of consent, a room by its id, or a recording."),
    ],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="The folder to write: new, or empty.")],
    config: ConfigFile = None,
    debug: Debug = False,
) -> None:
    """Copy recordings, or the log of consent, into a folder that needs no Aircheck.

    A browser plays the episodes from index.html. A room's predecessors, from before its upgrades, come with it.
    """
    settings = _settings(config, debug)
    from bot.shell import export as exporting

    print(asyncio.run(exporting.export(settings, what, to)))


@app.command()
def web(config: ConfigFile = None, profile: Profile = False, debug: Debug = False) -> None:
    """Serve feeds, pages and audio beside a running bot.

    Any number of times, on any machine that reaches the database and the media store; needs PostgreSQL. SIGTERM or
    SIGINT stops it.
    """
    from bot.memory import loading

    with loading():
        settings = _settings(config, debug)
        from bot import serving

    asyncio.run(serving.run(settings, profile=profile))


@app.command()
def work(
    config: ConfigFile = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", metavar="N", min=1, max=64, help="Jobs of a kind at once; one for each core by default."
        ),
    ] = None,
    profile: Profile = False,
    debug: Debug = False,
) -> None:
    """Carry out jobs of sound and pictures beside a running bot.

    Any number of times, on any machine that reaches the database, the media store and the homeserver; needs
    PostgreSQL. SIGTERM or SIGINT stops it; jobs that are not done go to others.
    """
    from bot.memory import loading

    with loading():
        settings = _settings(config, debug)
        from bot import working

    asyncio.run(working.run(settings, jobs or len(os.sched_getaffinity(0)), profile=profile))


def call(arguments: Sequence[str]) -> int:
    """Run one command line; give its exit code."""
    try:
        code = app(args=list(arguments), prog_name="aircheck", standalone_mode=False)
    except BrokenPipeError:  # the reader of the output has closed it
        sys.stdout = None  # nothing is left to flush at exit
        return 1
    except (Exception, KeyboardInterrupt) as error:
        logging.disable()  # parts that close late must not log below the sentence
        if "--debug" in arguments:
            traceback.print_exc()
        code, sentence = explain(error)
        print(sentence, file=sys.stderr, flush=True)
    return code if isinstance(code, int) else 0


def main() -> None:
    """Run the program as `aircheck` and `python -m bot` do."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that is not UTF-8 shows ? for missing letters
            stream.reconfigure(errors="replace")
    sys.exit(call(sys.argv[1:]))
