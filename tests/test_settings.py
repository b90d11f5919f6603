"""The settings: how they are read and refused."""

from pathlib import Path
from typing import Any

import pytest

from bot.errors import ConfigError
from bot.settings import validate
from bot.sources import from_environment, load, merge
from storage.database import FILE_NAME
from storage.place import Place

MATRIX = {"homeserver": "https://hs.example", "user_id": "@bot:hs.example"}


def with_keys(section: str, **keys: Any) -> dict[str, Any]:
    return {"matrix": MATRIX} | {section: ({**MATRIX, **keys} if section == "matrix" else keys)}


def test_defaults_need_only_an_address_and_an_account() -> None:
    """With an address and an account every other key has the default of the contract."""
    settings = validate({"matrix": MATRIX})
    assert settings.matrix.invites == ("*:hs.example",)
    assert settings.web.address == "http://127.0.0.1:8040"
    assert settings.recording.max_broadcast_s == 6 * 3600
    assert (settings.retention.max_days, settings.retention.warn_days) == (None, 7)
    assert settings.audio.loudness_lufs == -16
    assert settings.feeds.category == "Society & Culture"
    assert settings.password() is None


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        ({}, "the setting matrix.homeserver is missing"),
        ({"matrix": {"homeserver": "https://hs.example"}}, "the setting matrix.user_id is missing"),
        ({"matrx": {}}, "unknown setting matrx"),
        ({"matrix": {"homserver": "https://hs.example"}}, "unknown setting matrix.homserver"),
        (with_keys("web", prot=80), "unknown setting web.prot"),
        ({"matrix": MATRIX, "web": 80}, "web: must be a section with its keys below it"),
        (with_keys("web", port="http"), "web.port: must be a whole number"),
        (with_keys("web", port=70_000), "web.port: must be less than or equal to 65535"),
        (
            with_keys("web", trusted_proxies=["proxy.example"]),
            "web.trusted_proxies: must be an IP address or a network, such as 10.0.0.7 or 10.0.0.0/8",
        ),
        (with_keys("web", public_url="radio.example"), "web.public_url: must begin with https:// or http://"),
        (with_keys("web", public_url="https://"), "web.public_url: is not a complete address"),
        (with_keys("web", public_url="https://a.example/?x=1"), "web.public_url: must be a plain address"),
        (with_keys("matrix", homeserver="https://h.example:port"), "matrix.homeserver: is not a complete address"),
        (with_keys("matrix", user_id="bot"), "matrix.user_id: must be a Matrix user id"),
        (with_keys("matrix", admins="@a:hs.example"), "matrix.admins: must be a list"),
        (with_keys("matrix", admins=["a"]), "matrix.admins: must be Matrix user ids"),
        (with_keys("matrix", invites_from=["* *"]), "matrix.invites_from: must be patterns"),
        (with_keys("matrix", password=123), "matrix.password: must be a text"),
        (with_keys("storage", database_url="mysql://db/aircheck"), "storage.database_url: must be postgresql+asyncpg:"),
        (with_keys("storage", media_url="https://s3.example/bucket"), "storage.media_url: must be s3://BUCKET"),
        (with_keys("web", metrics_port=0), "web.metrics_port: must be greater than or equal to 1"),
        (with_keys("storage", database_url="sqlite:////srv/elsewhere.db"), "storage.database_url: "),
        (with_keys("recording", quiet_period_s=float("inf")), "recording.quiet_period_s: must be a finite number"),
        (with_keys("recording", paused_for_s=-1), "recording.paused_for_s: "),
        (with_keys("recording", max_chunk_bytes=1.5), "recording.max_chunk_bytes: must be a whole number"),
        (with_keys("retention", max_days=0), "retention.max_days: must be greater than or equal to 1"),
        (with_keys("retention", max_days=1.5), "retention.max_days: must be a whole number"),
        (with_keys("retention", warn_days=-1), "retention.warn_days: must be greater than or equal to 0"),
        (with_keys("retention", keep_days=1), "unknown setting retention.keep_days"),
        (with_keys("audio", mp3_bitrate_kbps=65), "audio.mp3_bitrate_kbps: must be 32, 40, "),
        (with_keys("audio", loudness_lufs=3), "audio.loudness_lufs: "),
        (with_keys("feeds", timezone="Mars/Base"), "feeds.timezone: is not the name of a time zone"),
        (with_keys("feeds", timezone="/etc/passwd"), "feeds.timezone: is not the name of a time zone"),
        (with_keys("feeds", language="english please"), "feeds.language: must be a language code"),
        (with_keys("feeds", explicit="yes"), "feeds.explicit: must be true or false"),
        (with_keys("commands", prefix="hey bot"), "commands.prefix: must be one word"),
        (with_keys("log", level="loud"), "log.level: must be 'debug'"),
    ],
)
def test_a_wrong_key_is_named_in_one_sentence(tree: dict[str, Any], sentence: str) -> None:
    """A mistake is reported in one sentence that begins with the key or names it."""
    with pytest.raises(ConfigError) as caught:
        validate(tree)
    assert caught.value.sentence.startswith(sentence)
    assert "\n" not in caught.value.sentence
    assert caught.value.exit_code == 2


def test_an_unknown_key_is_told_before_a_missing_one() -> None:
    """A misspelt key is named itself, before the one that is missing because of it."""
    with pytest.raises(ConfigError, match=r"unknown setting matrix\.user"):
        validate({"matrix": {"homeserver": "https://hs.example", "user": "@bot:hs.example"}})


def test_all_that_is_wrong_is_told() -> None:
    """Unknown keys, wrong values and missing keys are reported in one line, in this order, each once."""
    with pytest.raises(ConfigError) as caught:
        validate({"matrix": {"user_id": "bot", "admins": ["a", "b"]}, "web": {"prot": 1, "port": "x"}, "los": {}})
    sentences = caught.value.sentence.split("; ")
    assert set(sentences[:2]) == {"unknown setting web.prot", "unknown setting los"}
    assert {sentence.split(":")[0] for sentence in sentences[2:-1]} == {"matrix.user_id", "matrix.admins", "web.port"}
    assert sentences[-1] == "the setting matrix.homeserver is missing"
    assert len(sentences) == 6


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("https://rädio.example", "https://xn--rdio-loa.example"),
        ("https://rädio.example:8443/über-uns", "https://xn--rdio-loa.example:8443/%C3%BCber-uns"),
        ("https://radio.example/%C3%BCber", "https://radio.example/%C3%BCber"),
        ("http://例え.example/", "http://xn--r8jz45g.example"),
    ],
)
def test_an_address_beyond_ascii_is_written_as_browsers_send_it(written: str, address: str) -> None:
    """Hosts become punycode and paths percent escapes, so that feeds hold addresses that every app takes."""
    assert validate(with_keys("web", public_url=written)).web.address == address


def test_a_host_that_no_domain_can_have() -> None:
    """Letters that no domain name can have are a wrong value, not a traceback."""
    with pytest.raises(ConfigError, match=r"^web\.public_url: is not a complete address"):
        validate(with_keys("web", public_url="https://rä..dio.example"))


def test_a_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    """Settings and password are read without the byte order mark of an editor on Windows."""
    file, secret = tmp_path / "config.yaml", tmp_path / "password"
    secret.write_bytes(b"\xef\xbb\xbfopen sesame\r\n")
    file.write_bytes(
        b"\xef\xbb\xbfmatrix: {homeserver: 'https://hs.example', user_id: '@bot:hs.example', "
        + f"password_file: {secret}}}".encode()
    )
    assert load(file, {}).password() == "open sesame"


def test_a_wrong_password_value_is_never_repeated() -> None:
    """Neither the error about a password that is no text nor the settings' repr contains it."""
    with pytest.raises(ConfigError) as caught:
        validate(with_keys("matrix", password=271828))
    assert "271828" not in caught.value.sentence
    assert "sesame" not in repr(validate(with_keys("matrix", password="sesame")))


@pytest.mark.parametrize(
    ("name", "text", "path", "value"),
    [
        ("AIRCHECK_MATRIX__USER_ID", "@other:hs.example", "matrix.user_id", "@other:hs.example"),
        ("AIRCHECK_MATRIX__PASSWORD", "007 #1: no, really", "matrix.password", "007 #1: no, really"),
        ("AIRCHECK_MATRIX__PASSWORD", "'quoted'", "matrix.password", "quoted"),
        ("AIRCHECK_MATRIX__ADMINS", '["@a:hs.example"]', "matrix.admins", ("@a:hs.example",)),
        ("AIRCHECK_WEB__PORT", "8080", "web.port", 8080),
        ("AIRCHECK_WEB__PUBLIC_URL", "https://radio.example/", "web.public_url", "https://radio.example"),
        ("AIRCHECK_WEB__PUBLIC_URL", "null", "web.public_url", None),
        ("AIRCHECK_AUDIO__LOUDNESS_LUFS", "null", "audio.loudness_lufs", None),
        ("AIRCHECK_RECORDING__QUIET_PERIOD_S", "0.5", "recording.quiet_period_s", 0.5),
        ("AIRCHECK_FEEDS__EXPLICIT", "true", "feeds.explicit", True),
        ("AIRCHECK_COMMANDS__PREFIX", "!radio", "commands.prefix", "!radio"),
    ],
)
def test_the_environment_wins(name: str, text: str, path: str, value: Any) -> None:
    """A variable is read as YAML, a text needs no quotes, and it wins over the file's key alone."""
    file = {"matrix": {**MATRIX, "password": "from the file"}, "web": {"port": 1, "host": "::1"}}
    settings = validate(merge(file, from_environment({name: text})))
    section, key = path.split(".")
    assert getattr(getattr(settings, section), key) == value
    assert settings.web.host == "::1"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("AIRCHECK_WEB", "1", "AIRCHECK_WEB is not a setting"),
        ("AIRCHECK_WEB__PROT", "1", "unknown setting web.prot (AIRCHECK_WEB__PROT in the environment)"),
        ("AIRCHECK_MATRIX__ADMINS", "@a:hs.example", "AIRCHECK_MATRIX__ADMINS is not valid YAML"),
    ],
)
def test_a_wrong_variable_is_named(name: str, text: str, sentence: str) -> None:
    """A variable that is no setting or no YAML is named."""
    with pytest.raises(ConfigError) as caught:
        from_environment({name: text})
    assert caught.value.sentence.startswith(sentence)


def test_all_wrong_variables_are_named() -> None:
    """Every variable that is wrong is named, not only the first."""
    with pytest.raises(ConfigError) as caught:
        from_environment({"AIRCHECK_WEB__PROT": "1", "AIRCHECK_FEDS__EMAIL": "x", "AIRCHECK_WEB__PORT": "["})
    assert caught.value.sentence.count(";") == 2


def test_variables_that_kubernetes_injects_are_no_settings() -> None:
    """Addresses that a service called `aircheck` puts into the environment are ignored; a port meant as a setting is
    reported."""
    injected = {
        "AIRCHECK_SERVICE_HOST": "10.0.0.1",
        "AIRCHECK_SERVICE_PORT": "8040",
        "AIRCHECK_SERVICE_PORT_HTTP": "8040",
        "AIRCHECK_PORT": "tcp://10.0.0.1:8040",
        "AIRCHECK_PORT_8040_TCP": "tcp://10.0.0.1:8040",
        "AIRCHECK_PORT_8040_TCP_PROTO": "tcp",
        "AIRCHECK_PORT_8040_TCP_PORT": "8040",
        "AIRCHECK_PORT_8040_TCP_ADDR": "10.0.0.1",
    }
    assert from_environment(injected) == {}
    with pytest.raises(ConfigError, match="AIRCHECK_PORT is not a setting"):
        from_environment({"AIRCHECK_PORT": "8080"})


def test_other_variables_are_left_alone() -> None:
    """Variables of other programs, and the pass phrase for keys, are no settings."""
    assert from_environment({"PATH": "/bin", "AIRCHECK_KEYS_PASSPHRASE": "x", "AIRCHECKS": "1"}) == {}


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("0.0.0.0", "http://127.0.0.1:8040"),  # noqa: S104
        ("::", "http://127.0.0.1:8040"),
        ("::1", "http://[::1]:8040"),
        ("radio.lan", "http://radio.lan:8040"),
    ],
)
def test_the_address_follows_the_host(host: str, address: str) -> None:
    """Without a public_url the address is the host's, with 127.0.0.1 for a wildcard."""
    assert validate(with_keys("web", host=host)).web.address == address


def test_source_clients_may_have_an_address_of_their_own() -> None:
    """Without a source_url they send to the public address."""
    public = with_keys("web", public_url="https://radio.example")
    assert validate(public).web.source_address == "https://radio.example"
    public["web"]["source_url"] = "https://radio.example:8443/"
    assert validate(public).web.source_address == "https://radio.example:8443"


def test_the_password_file_wins_and_is_stripped(tmp_path: Path) -> None:
    """The password is read from its file, without the line break at its end."""
    secret = tmp_path / "password"
    secret.write_text("open sesame\n")
    assert validate(with_keys("matrix", password="x", password_file=str(secret))).password() == "open sesame"
    with pytest.raises(ConfigError, match=r"matrix\.password_file can't be read"):
        validate(with_keys("matrix", password_file=str(tmp_path / "gone"))).password()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("matrix: [", "is not valid YAML in line 1"),
        ("just words", "must hold sections"),
        ("\x00", "is not valid YAML"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    """A file that is no YAML or holds no sections is named in one sentence."""
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert str(file) in caught.value.sentence
    assert sentence in caught.value.sentence


def test_without_any_file_the_environment_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no config.yaml the environment alone will do; with neither, `aircheck init` is named."""
    monkeypatch.chdir(tmp_path)
    variables = {f"AIRCHECK_MATRIX__{key.upper()}": value for key, value in MATRIX.items()}
    assert load(None, variables).matrix.user_id == "@bot:hs.example"
    with pytest.raises(ConfigError, match="aircheck init"):
        load(None, {})


def test_the_database_is_where_the_address_says(tmp_path: Path) -> None:
    """The only accepted address of SQLite is that of the file which the store opens."""
    url = f"sqlite:///{tmp_path / FILE_NAME}"
    settings = validate(with_keys("storage", directory=str(tmp_path), database_url=url))
    assert settings.storage.place == Place(tmp_path)


def test_a_store_may_have_addresses(tmp_path: Path) -> None:
    """A database and a media store by address are of the store's place, and no text of it shows the password."""
    media = "s3://aircheck/archive?endpoint=https://s3.example&region=eu"
    given = {"database_url": "postgresql://bot:sesame@db/aircheck", "media_url": media}
    settings = validate(with_keys("storage", directory=str(tmp_path), **given))
    assert settings.storage.place == Place(tmp_path, "postgresql+asyncpg://bot:sesame@db/aircheck", media)
    assert "sesame" not in f"{settings!r} {settings.storage.place!r}"


def test_an_empty_section_is_no_error(tmp_path: Path) -> None:
    """`web:` with nothing below it, as in a file with all its keys commented out, means the defaults."""
    file = tmp_path / "config.yaml"
    file.write_text("matrix: {homeserver: 'https://hs.example', user_id: '@bot:hs.example'}\nweb:\n")
    assert load(file, {}).web.port == 8040
