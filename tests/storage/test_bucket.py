"""Signed addresses: the same signature as botocore's, for whatever a bucket, its prefix, keys and answers are named."""

from datetime import UTC, datetime
from unittest.mock import patch
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.blobs.bucket import Bucket, Keys
from storage.records import BlobKey

KEY = BlobKey("ab" * 32)
SPOKEN = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
PREFIXES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30).filter(
    lambda prefix: all(part not in ("", ".", "..") for part in prefix.split("/")) or not prefix
)
SECRETS = st.text(st.characters(codec="ascii", categories=["L", "N"], include_characters="/+="), min_size=1)
ENDPOINTS = st.sampled_from(
    ["http://127.0.0.1:9000", "https://s3.example.org", "https://s3.example.org:443", "http://S3.Example.org:80",
     "https://s3.example.org:80", "http://[::1]:9000", "https://s3.eu-test-1.amazonaws.com/"]
)  # fmt: skip
ANSWERS = st.dictionaries(st.sampled_from(["content-type", "content-disposition", "cache-control"]), SPOKEN)


def signed_by_botocore(
    url: str, keys: Keys, region: str, at: datetime, expires_s: int, method: str, params: dict[str, str]
) -> str:
    request = AWSRequest(method, url, params=params)
    with patch("botocore.auth.get_current_datetime", lambda: at):
        S3SigV4QueryAuth(Credentials(keys.access, keys.secret, keys.token), "s3", region, expires_s).add_auth(request)
    return str(request.url)


@settings(max_examples=60, deadline=None)
@given(
    prefix=PREFIXES,
    endpoint=ENDPOINTS,
    virtual=st.booleans(),
    keys=st.builds(Keys, SECRETS, SECRETS, st.none() | SECRETS),
    region=st.from_regex(r"[a-z]{2}-[a-z]{3,9}-[1-9]", fullmatch=True),
    at=st.datetimes(datetime(2020, 1, 1), datetime(2099, 1, 1)),  # noqa: DTZ001  made aware below
    expires_s=st.integers(1, 604_800),
    method=st.sampled_from(["GET", "HEAD"]),
    answer=ANSWERS,
)
def test_addresses_are_signed_as_by_botocore(
    prefix: str, endpoint: str, virtual: bool, keys: Keys, region: str, at: datetime, expires_s: int, method: str,
    answer: dict[str, str],
) -> None:  # fmt: skip
    """Whoever follows an address of ours makes the request that botocore would have signed."""
    at = at.replace(tzinfo=UTC)
    virtual = virtual and "[" not in endpoint  # a number has no host names below it
    style = "virtual" if virtual else "path"
    bucket = Bucket.of(f"s3://media/{quote(prefix)}?endpoint={endpoint}&region={region}&style={style}", {})
    ours = urlsplit(bucket.signed(bucket.path(KEY), keys, at, expires_s, method=method, answer=answer))
    host = urlsplit(endpoint).netloc
    origin = f"{urlsplit(endpoint).scheme}://" + (f"media.{host}" if virtual else host)
    name = "/".join(filter(None, (prefix, KEY[:2], KEY)))
    url = origin + "/" + quote(name if virtual else f"media/{name}", safe="/~")
    params = {f"response-{header}": value for header, value in answer.items()}
    theirs = urlsplit(signed_by_botocore(url, keys, region, at, expires_s, method, params))
    assert sorted(parse_qsl(ours.query, keep_blank_values=True)) == sorted(
        parse_qsl(theirs.query, keep_blank_values=True)
    )
    assert (ours.scheme, ours.path) == (theirs.scheme, theirs.path)


def test_the_port_of_a_scheme_is_in_no_address() -> None:
    """A client sends the host in small letters and without the usual port, so that neither is signed."""
    for endpoint, origin in {
        "https://S3.Example.org:443/": "https://s3.example.org",
        "http://s3.example.org:80": "http://s3.example.org",
        "https://s3.example.org:80": "https://s3.example.org:80",
        "http://[::1]:9000": "http://[::1]:9000",
    }.items():
        assert Bucket.of(f"s3://media/x?endpoint={endpoint}", {}).origin == origin


@pytest.mark.parametrize("endpoint", ["https://s3.example.org:port", "https://s3.example.org:99999", "https://[::1"])
def test_an_endpoint_with_a_port_that_is_none_is_refused(endpoint: str) -> None:
    """An endpoint that is no address is an error of the setting, and nothing else."""
    with pytest.raises(ValueError, match="endpoint must be an address"):
        Bucket.of(f"s3://media/x?endpoint={endpoint}", {})
