"""The requests of source clients, as bytes."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import GiveUp
from bot.web.icecast import Body, Dechunker, Head, Mounts, password_of, read_head

BASIC = base64.b64encode(b"source:secret").decode()


def head(*lines: str) -> Head | None:
    return read_head("\r\n".join(lines).encode("latin-1"))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", None),
        (b"S", None),
        (b"SOURCE", None),
        (b"SOURCE ", True),
        (b"SOURCE /studio/source HTTP/1.0\r\n", True),
        (b"PUT /studio/sour", None),
        (b"PUT /studio/source", None),
        (b"PUT /studio/source HTTP/1.1\r\n", True),
        (b"PUT /studio/source?a=b HTTP/1.1\r\n", True),
        (b"PUT /studio/sourceabcdefg/slice-1 HTTP/1.1\r\n", False),
        (b"PUT /studio/abc/slice-1 HTTP/1.1\r\n", False),
        (b"GET /", False),
        (b"\r\nSOURCE ", False),
    ],
)
def test_sources_are_told_from_others_by_their_first_bytes(data: bytes, expected: bool | None) -> None:
    """Only a source's request is taken from the web server; no more bytes are waited for than that needs."""
    assert Mounts().are_meant(data) is expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"PUT /pod/studio/sour", None),
        (b"PUT /pod/studio/source HTTP/1.1\r\n", True),
        (b"PUT /studio/source HTTP/1.1\r\n", True),
        (b"PUT /air/studio/source?a=b HTTP/1.1\r\n", True),
        (b"PUT /pods", False),
    ],
)
def test_mount_point_may_have_the_path_of_an_address_that_is_told(data: bytes, expected: bool | None) -> None:
    """Behind a proxy with a path, and past it, the same mount point is a source's."""
    mounts = Mounts("/pod", "/air")
    assert mounts.are_meant(data) is expected
    assert [path in mounts for path in ("/studio/source", "/pod/studio/source", "/pod")] == [True, True, False]


def test_request_of_each_kind_is_read() -> None:
    """ffmpeg, libshout and curl tell the end of their sound in different ways."""
    given = f"Authorization: Basic {BASIC}"
    assert head("PUT /studio/source HTTP/1.1", given, "Expect: 100-continue", "Transfer-Encoding: chunked") == Head(
        "/studio/source", "secret", Body.CHUNKED, 0, expects=True
    )
    assert head("SOURCE /studio/source HTTP/1.0", given, "ice-name: x") == Head(
        "/studio/source", "secret", Body.ENDLESS, 0, expects=False
    )
    assert head("SOURCE /studio/source HTTP/1.0", given, "Content-Length: 0") == Head(
        "/studio/source", "secret", Body.ENDLESS, 0, expects=False
    )
    assert head("SOURCE /studio/source ICE/1.0") == Head("/studio/source", None, Body.ENDLESS, 0, expects=False)
    assert head("PUT /studio/source?x=1 HTTP/1.1", given, "content-length: 12") == Head(
        "/studio/source", "secret", Body.SIZED, 12, expects=False
    )
    assert head("PUT /studio/source HTTP/1.1", "Content-Length: -1") == Head(
        "/studio/source", None, Body.ENDLESS, 0, expects=False
    )


@pytest.mark.parametrize(
    ("lines", "body", "at_its_end"),
    [
        # BUTT 0.1.37
        (
            ("PUT /studio/source HTTP/1.1", "Host: 127.0.0.1:8040", "User-Agent: butt 0.1.37",
             "Content-Type: audio/mpeg", "ice-name: no name", "ice-public: 0",
             "ice-audio-info: ice-bitrate=128;ice-channels=2;ice-samplerate=48000", "Expect: 100-continue"),
            Body.ENDLESS, True,
        ),
        # Liquidsoap 2.1.3 with `method="put", chunked=true`
        (
            ("PUT /studio/source HTTP/1.1", "Transfer-Encoding: chunked", "Host: ", "ice-name: /studio/source",
             "Expect: 100-continue", "ice-public: 1", "User-Agent: Liquidsoap/2.1.3 (Unix; OCaml 4.13.1)",
             "ice-audio-info: channels=2;samplerate=48000", "Content-Type: application/ogg"),
            Body.CHUNKED, True,
        ),
        # the same without them
        (
            ("SOURCE /studio/source HTTP/1.0", "ice-name: /studio/source", "ice-public: 1", "ice-audio-info: ",
             "Content-Type: application/ogg"),
            Body.ENDLESS, False,
        ),
    ],
)  # fmt: skip
def test_request_of_a_real_client_is_read(lines: tuple[str, ...], body: Body, at_its_end: bool) -> None:
    """The headers that clients sent in a test by hand."""
    found = head(*lines, f"Authorization: Basic {BASIC}")
    assert found is not None
    assert (found.path, found.password, found.body) == ("/studio/source", "secret", body)
    assert (found.is_answered_at_its_end, found.has_lost_its_sound) == (at_its_end, False)


@pytest.mark.parametrize(
    ("lines", "lost"),
    [
        (("PUT /studio/source HTTP/1.1", "X-Forwarded-For: 192.0.2.1"), True),
        (("SOURCE /studio/source HTTP/1.1", "Via: 1.1 web"), True),
        (("PUT /studio/source HTTP/1.1", "Content-Length: 0"), True),
        (("PUT /studio/source HTTP/1.1", "Transfer-Encoding: chunked", "X-Forwarded-For: 192.0.2.1"), False),
        (("PUT /studio/source HTTP/1.1", "Content-Length: 3", "Via: 1.1 web"), False),
        (("PUT /studio/source HTTP/1.1", "Expect: 100-continue"), False),
        (("SOURCE /studio/source HTTP/1.0", "Content-Length: 0"), False),
    ],
)
def test_sound_without_its_length_is_lost_on_the_way(lines: tuple[str, ...], lost: bool) -> None:
    """A web server hands on a request with neither length nor chunks without what follows it (RFC 9112, 6.3)."""
    found = head(*lines)
    assert found is not None
    assert found.has_lost_its_sound is lost


@pytest.mark.parametrize(
    "lines",
    [
        ("",),
        ("PUT /studio/source",),
        ("GET /studio/source HTTP/1.1",),
        ("PUT /studio/source HTTP/2.0",),
        ("PUT /studio/source HTTP/1.1", "no colon"),
        ("PUT /studio/source HTTP/1.1", " folded: header"),
        ("PUT /studio/source HTTP/1.1", "Content-Length: 1, 1"),
        ("PUT /studio/source HTTP/1.1", "Content-Length: ٣"),
        ("PUT /studio/source HTTP/1.1", "Transfer-Encoding: gzip, chunked"),
        ("PUT /studio/source HTTP/1.1", "Transfer-Encoding: chunked", "Content-Length: 3"),
    ],
)
def test_malformed_request_is_none(lines: tuple[str, ...]) -> None:
    """A request that could be read in two ways is not read."""
    assert read_head("\r\n".join(lines).encode()) is None


def test_target_that_is_no_address_is_a_path_like_any_other() -> None:
    """A target that a URL library refuses is another mount point, and no failure."""
    for target in ("//[x", "http://[::1/studio/source", "http://source:secret@\u2100/"):
        found = read_head(f"SOURCE {target} HTTP/1.0".encode())
        assert found is not None
        assert found.path != "/studio/source"


@pytest.mark.parametrize(
    "credentials",
    ["", "Bearer x", "Basic", "Basic ###", f"Basic {base64.b64encode(b'source').decode()}", "Basic YWRtaW46c2VjcmV0"],
)
def test_other_credentials_have_no_password(credentials: str) -> None:
    """No scheme but Basic, and no user but `source`."""
    assert password_of({"authorization": credentials}) is None


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=10), st.integers(1, 50))
def test_chunks_of_any_division_give_their_bytes(chunks: list[bytes], size: int) -> None:
    """However the body arrives, its chunks are joined, and its end is known."""
    body = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    reader, sound = Dechunker(), b""
    for at in range(0, len(body), size):
        sound += reader.feed(body[at : at + size])
    assert sound == b"".join(chunks)
    assert reader.ended


@pytest.mark.parametrize("body", [b"\r\n", b"xyz\r\n", b"-1\r\n", b"3\r\nabcdef\r\n", b"1" * 5000, b"f" * 17 + b"\r\n"])
def test_what_is_not_made_of_chunks_is_refused(body: bytes) -> None:
    """A size that is none, or too long, ends the source."""
    with pytest.raises(GiveUp):
        Dechunker().feed(body)
