"""A feed is judged as strangers get it: each fault is found, named, and no other."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bot.check import feed_check
from bot.check.fetching import Stranger, stranger_at
from bot.check.finding import Finding, Level
from tests.check.site import NOW, Bend, jpeg, mp3, png, site, wrong

FEED, AUDIO, COVER = "/r/k/feed.xml", "/r/k/1.mp3", "/r/k/cover-1.png"
REFUSED, TRIPPED = Level.FAIL, Level.WARN


async def test_a_feed_that_is_right_is_fine() -> None:
    """Only the address is told of: it is this machine's own."""
    async with site(episodes=6) as made:
        findings = await made.check()
    assert wrong(findings) == []
    assert [finding.level for finding in findings if finding.subject == "address"] == [TRIPPED]
    fine = {finding.subject: finding.text for finding in findings if finding.level is Level.OK}
    assert {"owner e-mail", "artwork", "HEAD of the feed", "byte ranges", "durations counted", "robots"} <= fine.keys()
    assert fine["sound"] == "4 episodes looked at, of 6"
    assert {path for path in made.asked if path.endswith(".mp3")} > {"/r/k/6.mp3", "/r/k/1.mp3"}


def on(path: str, change: Callable[[web.StreamResponse], object], *, methods: str = "GET HEAD") -> Bend:
    """Change the answers for a path."""

    def bend(request: web.BaseRequest, answer: web.StreamResponse) -> web.StreamResponse:
        if request.path == path and request.method in methods.split():
            change(answer)
        return answer

    return bend


def header(name: str, value: str | None) -> Callable[[web.StreamResponse], object]:
    def change(answer: web.StreamResponse) -> None:
        answer.headers.popall(name, None)
        if value is not None:
            answer.headers[name] = value

    return change


def answered(path: str, status: int, body: str = "", *, methods: str = "GET HEAD", **headers: str) -> Bend:
    """Answer for a path in place of the site."""

    def bend(request: web.BaseRequest, answer: web.StreamResponse) -> web.StreamResponse:
        if request.path == path and request.method in methods.split():
            return web.Response(status=status, text=body, headers=headers)
        return answer

    return bend


def ignoring(path: str, *names: str) -> Bend:
    """Answer as if the request had not these headers."""

    def bend(request: web.BaseRequest, answer: web.StreamResponse) -> web.StreamResponse:
        if request.path == path and any(name in request.headers for name in names):
            return web.Response(body=mp3(), headers={**answer.headers, "Content-Type": "audio/mpeg"})
        return answer

    return bend


SERVED = [
    (answered(FEED, 405, methods="HEAD"), REFUSED, "HEAD of the feed", "HEAD is answered with 405"),
    (answered(AUDIO, 405, methods="HEAD"), REFUSED, "HEAD of the sound", "HEAD is answered with 405"),
    (answered(COVER, 405, methods="HEAD"), REFUSED, "HEAD of the artwork", "HEAD is answered with 405"),
    (on(FEED, header("Content-Type", "text/xml")), TRIPPED, "type of the feed", "text/xml"),
    (on(FEED, header("Content-Type", "text/html")), REFUSED, "type of the feed", "text/html"),
    (on(FEED, header("X-Robots-Tag", "noindex")), TRIPPED, "robots", "hides the public feed"),
    (on(FEED, header("Vary", None)), TRIPPED, "compression", "Vary"),
    (on(FEED, header("Access-Control-Allow-Origin", None)), TRIPPED, "web players", "the feed"),
    (on(AUDIO, header("Access-Control-Allow-Origin", None)), TRIPPED, "web players", "the sound"),
    (on("/r/k/1.chapters.json", header("Access-Control-Allow-Origin", None)), TRIPPED, "web players", "chapters"),
    (on(FEED, header("Date", "Mon, 30 Nov 2026 12:05:00 GMT")), TRIPPED, "clock", "300 s"),
    (on(AUDIO, header("Accept-Ranges", None)), TRIPPED, "byte ranges", "Accept-Ranges"),
    (on(AUDIO, header("ETag", 'W/"x"')), TRIPPED, "byte ranges", "strong `ETag`"),
    (answered("/r/k/1.chapters.json", 404), TRIPPED, "chapters, originals", "the chapters"),
    (answered("/r/k/1.opus", 404), TRIPPED, "chapters, originals", "the original sound"),
    (answered(COVER, 404), REFUSED, "artwork", "404"),
    (answered("/robots.txt", 200, "User-agent: Spotify\nDisallow: /r/"), REFUSED, "robots", "to Spotify"),
    (answered("/robots.txt", 200, "User-agent: *\nDisallow: /"), REFUSED, "robots", "to iTMS, Spotify, *"),
    (answered(AUDIO, 404, "Not found"), REFUSED, "sound", "“Episode 1”: the audio can't be downloaded (404)"),
]


@pytest.mark.parametrize(("bend", "level", "subject", "text"), SERVED)
async def test_a_fault_in_serving_is_found(bend: Bend, level: Level, subject: str, text: str) -> None:
    """Each is named with its level, and nothing else is wrong."""
    async with site(episodes=1) as made:
        made.bend = bend
        findings = await made.check()
    assert wrong(findings) == [(level, subject)]
    assert any(text in finding.text for finding in findings if finding.subject == subject)


async def test_a_server_without_ranges_is_refused() -> None:
    """Apple takes no episode of it, and a download that stops begins anew."""
    async with site(episodes=1) as made:
        made.bend = ignoring(AUDIO, "Range")
        findings = await made.check()
    assert wrong(findings) == [(REFUSED, "byte ranges")]


async def test_a_resumed_download_that_mixes_two_files_is_found() -> None:
    """The server ignores `If-Range`."""

    def bend(request: web.BaseRequest, answer: web.StreamResponse) -> web.StreamResponse:
        if request.path == AUDIO and "If-Range" in request.headers:
            return web.Response(status=206, body=b"ID", headers={"Content-Range": "bytes 0-1/9"})
        return answer

    async with site(episodes=1) as made:
        made.bend = bend
        assert wrong(await made.check()) == [(TRIPPED, "byte ranges")]


async def test_a_part_of_another_type_is_refused() -> None:
    """Apple plays nothing where the type of a range is not that of the file."""

    def bend(request: web.BaseRequest, answer: web.StreamResponse) -> web.StreamResponse:
        if answer.status == 206:
            answer.headers["Content-Type"] = "application/octet-stream"
        return answer

    async with site(episodes=1) as made:
        made.bend = bend
        findings = await made.check()
    assert wrong(findings) == [(REFUSED, "byte ranges")]


async def test_an_unchanged_feed_that_is_sent_again_is_found() -> None:
    """Both validators are tried, and their absence is told."""

    def bend(request: web.BaseRequest, answer: web.StreamResponse) -> web.StreamResponse:
        return web.Response(body=made.files[FEED][0], headers=answer.headers) if answer.status == 304 else answer

    async with site(episodes=1) as made:
        made.bend = bend
        findings = await made.check()
        assert wrong(findings) == [(TRIPPED, "unchanged feed")] * 2
        made.bend = on(FEED, header("ETag", None))
        assert wrong(await made.check()) == [(TRIPPED, "unchanged feed")]


async def test_a_large_feed_that_is_not_compressed_is_found() -> None:
    """A compressed one that is another feed is refused."""

    def plain(request: web.BaseRequest, answer: web.StreamResponse) -> web.StreamResponse:
        if request.path == FEED and answer.headers.get("Content-Encoding"):
            headers = {name: value for name, value in answer.headers.items() if name != "Content-Encoding"}
            return web.Response(body=made.files[FEED][0], headers=headers)
        return answer

    def another(request: web.BaseRequest, answer: web.StreamResponse) -> web.StreamResponse:
        if request.path == FEED and answer.headers.get("Content-Encoding"):
            return web.Response(body=b"other", headers=answer.headers)
        return answer

    async with site(episodes=3) as made:
        made.bend = plain
        assert wrong(await made.check()) == [(TRIPPED, "compression")]
        made.bend = another
        assert wrong(await made.check()) == [(REFUSED, "compression")]


SOUND = [
    ((mp3(29), "audio/mpeg"), [(REFUSED, "lengths")]),
    ((mp3(40), "audio/mpeg"), [(REFUSED, "lengths"), (TRIPPED, "durations counted")]),
    ((mp3()[:-1000] + bytes(1000), "audio/mpeg"), []),
    ((bytes(len(mp3())), "audio/mpeg"), [(REFUSED, "sound")]),
    ((mp3(), "audio/mpeg3"), [(REFUSED, "sound"), (REFUSED, "byte ranges")]),
]


@pytest.mark.parametrize(("file", "expected"), SOUND)
async def test_the_sound_is_compared_with_what_the_feed_says(
    file: tuple[bytes, str], expected: list[tuple[Level, str]]
) -> None:
    """Bytes and frames are counted: neither the server nor the file is believed."""
    async with site(episodes=1) as made:
        made.files[AUDIO] = file
        assert wrong(await made.check()) == expected


async def test_of_a_large_file_the_beginning_tells_the_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing more is downloaded: all its frames have one rate, and a range tells its size."""
    monkeypatch.setattr(feed_check, "COUNTED_BYTES", 100_000)
    monkeypatch.setattr(feed_check, "BEGINNING_BYTES", 50_000)
    async with site(episodes=1) as made:
        assert wrong(await made.check()) == []
        made.change("<itunes:duration>30<", "<itunes:duration>33<")
        assert wrong(await made.check()) == [(TRIPPED, "durations counted")]


ARTWORK = [
    (png(1399, 1399), "image/png", REFUSED, "1399 × 1399"),
    (png(3001, 3001), "image/png", REFUSED, "3001 × 3001"),
    (png(1400, 1500), "image/png", REFUSED, "not square"),
    (jpeg(1400, 1400), "image/jpeg", REFUSED, "the ending of its address"),
    (jpeg(1400, 1400, colours=4), "image/png", REFUSED, "CMYK"),
    (b"GIF89a", "image/gif", REFUSED, "neither JPEG nor PNG"),
    (png() + bytes(600_000), "image/png", TRIPPED, "KiB"),
]


@pytest.mark.parametrize(("picture", "kind", "level", "text"), ARTWORK)
async def test_artwork_that_apple_refuses_is_found(picture: bytes, kind: str, level: Level, text: str) -> None:
    """Its size, shape, colours, type and bytes are those of the picture itself."""
    async with site(episodes=1) as made:
        made.files[COVER] = (picture, kind)
        findings = [finding for finding in await made.check() if finding.subject == "artwork"]
    assert level in [finding.level for finding in findings]
    assert any(text in finding.text for finding in findings)


async def test_jpeg_artwork_is_taken() -> None:
    """A good picture of the other type."""
    async with site(episodes=1) as made:
        made.files["/r/k/cover-1.jpg"] = (jpeg(3000, 3000), "image/jpeg")
        made.change("cover-1.png", "cover-1.jpg")
        assert wrong(await made.check()) == []


UNREACHED = [
    (answered(FEED, 502, "<html>Bad Gateway</html>"), "a proxy answers in place of Aircheck (502)"),
    (answered(FEED, 503, "Not yet", **{"Retry-After": "30"}), "the rooms were not read yet"),
    (answered(FEED, 401), "strangers are refused (401)"),
    (answered(FEED, 429), "too many requests"),
    (answered(FEED, 404, "Not found"), "the feed is answered with 404"),
    (answered(FEED, 200, "<html>It works</html>"), "the feed is answered with 200"),
    (lambda _, __: web.Response(text="<html>It works</html>"), "another server answers"),
    (lambda _, __: web.Response(status=404), "another server answers"),
    (lambda _, __: web.Response(status=302, headers={"Location": "https://else.example/"}), "leads to another server"),
    (lambda _, __: None, "ends the connection"),
]


@pytest.mark.parametrize(("bend", "text"), UNREACHED)
async def test_a_feed_that_strangers_do_not_get_is_told_with_its_cause(bend: Bend, text: str) -> None:
    """Nothing else can be judged then."""
    async with site(episodes=1) as made:
        made.bend = bend
        findings = await made.check()
    assert [(finding.level, finding.subject) for finding in findings[1:]] == [(REFUSED, "reachable")]
    assert text in findings[-1].text


async def findings_at(base: str) -> list[Finding]:
    async with stranger_at(base) as stranger:
        found = feed_check.check_feed(stranger, base, f"{base}/r/k/feed.xml", lambda: NOW, private=False)
        return [finding async for finding in found]


@pytest.mark.parametrize(
    ("base", "text"),
    [("http://127.0.0.1:1", "nobody listens"), ("http://pod.invalid", "no DNS entry")],
)
async def test_an_address_without_a_server_is_told(base: str, text: str) -> None:
    """Nobody listens there, or the name leads nowhere."""
    assert text in (await findings_at(base))[-1].text


async def test_a_server_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check ends in time, and says what it did not come to."""
    monkeypatch.setattr(feed_check, "WITHIN_S", 0.3)
    async with site(episodes=1) as made:
        made.stalled.add(AUDIO)
        findings = await made.check()
    assert wrong(findings) == [(TRIPPED, "time")]


def certificate(directory: Path, ends: datetime) -> ssl.SSLContext:
    """Make a certificate for 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pod")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=99))
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    kind = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "pem").write_bytes(key.private_bytes(*kind) + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "pem")
    return context


async def test_a_certificate_that_strangers_refuse_is_told(tmp_path: Path) -> None:
    """With the reason; so is a port that speaks no TLS."""
    async with site(episodes=1, tls=certificate(tmp_path, datetime.now(UTC) + timedelta(days=9))) as made:
        findings = await made.check()
        assert wrong(findings) == [(REFUSED, "reachable")]
        assert "strangers refuse the certificate of 127.0.0.1: self-signed certificate" in findings[-1].text
    async with site(episodes=1) as made:
        assert "speaks no TLS" in (await findings_at(made.base.replace("http", "https")))[-1].text


async def test_a_certificate_that_ends_soon_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A valid one is told with its last day."""
    now = datetime.now(UTC)
    context = certificate(tmp_path, now + timedelta(days=9, hours=1))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "pem"))
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context())
    async with site(episodes=1, tls=context) as made:
        for at, level, text in (
            (now, TRIPPED, "ends in 9 days"),
            (now - timedelta(days=9), Level.OK, f"valid until {now + timedelta(days=9, hours=1):%Y-%m-%d}"),
        ):
            (told,) = [finding for finding in await made.check(now=at) if finding.subject == "certificate"]
            assert (told.level, told.text) == (level, text)


async def test_a_redirected_feed_is_judged_and_told() -> None:
    """The redirect stays below the address, so it is followed."""

    def bend(request: web.BaseRequest, answer: web.StreamResponse) -> web.StreamResponse:
        if request.path == FEED and "moved" not in request.query_string:
            return web.Response(status=301, headers={"Location": "feed.xml?moved"})
        return answer

    async with site(episodes=1) as made:
        made.bend = bend
        assert (TRIPPED, "redirects") in wrong(await made.check())


async def test_a_ring_of_redirects_ends() -> None:
    """After a few it is given up."""
    async with site(episodes=1) as made:
        made.bend = lambda _, __: web.Response(status=302, headers={"Location": FEED})
        assert wrong(await made.check()) == [(REFUSED, "reachable")]
    assert len(made.asked) < 20


async def test_nothing_outside_of_the_public_address_is_ever_asked() -> None:
    """Whatever a feed names, and wherever a redirect leads: its text may be anybody's."""
    async with site(episodes=1) as elsewhere, site(episodes=1, prefix="/pod") as made:
        made.write()
        for path in (AUDIO, COVER, "/r/k/1.chapters.json", "/r/k/1.opus"):
            made.change(f"{made.base}{path}", f"{elsewhere.base}{path}")
        made.change("</channel>", f'<atom:link rel="next" href="{made.base}/../secret.xml"/></channel>')
        findings = await made.check()
        assert [path for path in made.asked if not path.startswith("/pod/r/k/feed.xml")] == []
        assert elsewhere.asked == []
        told = {subject for _, subject in wrong(findings)}
        assert {"artwork", "sound", "archive", "chapters, originals"} <= told
        made.write()
        made.bend = lambda request, answer: (
            web.Response(status=302, headers={"Location": f"{elsewhere.base}{AUDIO}"})
            if request.path.endswith(".mp3")
            else answer
        )
        assert wrong(await made.check()) == [(TRIPPED, "sound")]
        assert elsewhere.asked == []


@pytest.mark.parametrize(
    "address",
    [
        "http://pod.example.evil.example/pod/x",
        "http://pod.example@evil.example/pod/x",
        "http://pod.example:81/pod/x",
        "https://pod.example/pod/x",
        "http://pod.example/other",
        "http://pod.example/pod/../other",
        "http://pod.example/pod/%2e%2e/other",
        "http://pod.example/podium/x",
        "file:///etc/passwd",
        "//evil.example/pod/",
        "http://[",
    ],
)
async def test_an_address_that_only_looks_like_ours_is_another(address: str) -> None:
    """The host, the port, the scheme and the path have to be those of the public address."""
    async with stranger_at("http://pod.example/pod") as stranger:
        assert isinstance(stranger, Stranger)
        assert not stranger.is_ours(address)
        assert stranger.is_ours("http://pod.example/pod/r/k/feed.xml")


async def test_the_documents_of_an_archive_are_walked() -> None:
    """All episodes are judged then; a chain that ends, leads back or gives one episode twice is told."""
    async with site(episodes=6) as made:

        def older(name: str) -> str:
            return f'<atom:link rel="prev-archive" href="{made.base}/r/k/{name}"/>'

        made.write(items=made.items([6, 5]), more=older("feed-1-2.xml"))
        made.write("/r/k/feed-1-2.xml", made.items([4, 3]), older("feed-1-1.xml"))
        made.write("/r/k/feed-1-1.xml", made.items([2, 1]))
        findings = await made.check()
        assert wrong(findings) == []
        assert "3 documents can be read" in [finding.text for finding in findings]
        assert "6 episodes" in [finding.text for finding in findings]
        made.write("/r/k/feed-1-1.xml", made.items([2, 1]), older("feed-1-2.xml"))
        assert wrong(await made.check()) == [(REFUSED, "archive")]
        made.write("/r/k/feed-1-1.xml", made.items([3, 1]))
        assert (REFUSED, "GUIDs") in wrong(await made.check())
        del made.files["/r/k/feed-1-1.xml"]
        assert wrong(await made.check()) == [(REFUSED, "archive")]


async def test_a_feed_that_is_a_bomb_is_read_in_bounds() -> None:
    """Entities are not expanded, and what is no feed is told so."""
    async with site(episodes=1) as made:
        body, kind = made.files[FEED]
        bomb = b'<!DOCTYPE rss [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>'
        made.files[FEED] = (body.replace(b"<rss", bomb + b"<rss").replace(b"Kitchen radio<", b"&b;&c;<"), kind)
        findings = await made.check()
    assert "root:" not in "".join(finding.text for finding in findings)


async def test_a_private_feed_is_judged_by_other_rules() -> None:
    """No e-mail, blocks, and kept from search engines; no finding holds its address."""
    async with site(episodes=1) as made:
        findings = await made.check(private=True)
        assert {subject for _, subject in wrong(findings)} == {"owner e-mail", "listing", "robots"}
        made.change("<itunes:owner>", "<itunes:block>yes</itunes:block><podcast:block>yes</podcast:block><!--")
        made.change("</itunes:owner>", "-->")
        made.headers = {"X-Robots-Tag": "noindex, nofollow"}
        findings = await made.check(private=True)
        assert wrong(findings) == []
        assert "/r/k" not in "".join(finding.text for finding in findings)
