"""The address of a media store, `s3://BUCKET/PREFIX?endpoint=…&region=…`, and signed addresses of its objects. Pure.

Signed addresses are those of AWS Signature Version 4 with the signature in the query:
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
obstore signs too, but neither the headers of the answer nor a given time.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from storage.records import BlobKey

OPTIONS = ("endpoint", "region", "style")
STYLES = ("path", "virtual")
DEFAULT_REGION = "us-east-1"
_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of a bucket. `token`: that of a session, where they are temporary."""

    access: str
    secret: str
    token: str | None = None

    def __repr__(self) -> str:
        return "Keys()"

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Keys | None":
        """Return the keys in the environment, as the AWS tools name them; None where a role gives them."""
        access, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
        return cls(access, secret, environment.get("AWS_SESSION_TOKEN") or None) if access and secret else None


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, and the prefix of everything of ours in it. `endpoint`: without a slash at its end. `virtual`: the
    bucket's name is part of the host name."""

    name: str
    prefix: str
    endpoint: str
    region: str
    virtual: bool = False

    @classmethod
    def of(cls, url: str, environment: Mapping[str, str]) -> "Bucket":
        """Read an address. What it leaves out is taken from the environment, as the AWS tools name it. Raises
        ValueError that says what is wrong."""
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        if unknown := options.keys() - {*OPTIONS}:
            raise ValueError(f"has the unknown option {min(unknown)}; there are {', '.join(OPTIONS)}")
        region = options.get("region") or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
        endpoint = _origin(
            options.get("endpoint")
            or environment.get("AWS_ENDPOINT_URL_S3")
            or environment.get("AWS_ENDPOINT_URL")
            or f"https://s3.{region or DEFAULT_REGION}.amazonaws.com"
        )
        style = options.get("style", "path")
        if style not in STYLES:
            raise ValueError("style must be path or virtual")
        prefix = unquote(parts.path).strip("/")
        if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
            raise ValueError("the prefix must be a plain path")
        return cls(parts.netloc, prefix, endpoint, region or DEFAULT_REGION, style == "virtual")

    @property
    def is_plain(self) -> bool:
        """Whether requests go there without encryption."""
        return self.endpoint.startswith("http://")

    @property
    def origin(self) -> str:
        """The scheme and the host that signed addresses begin with."""
        if not self.virtual:
            return self.endpoint
        scheme, _, host = self.endpoint.partition("://")
        return f"{scheme}://{self.name}.{host}"

    def path(self, key: BlobKey) -> str:
        """Return the name of a blob below the prefix."""
        return f"{key[:2]}/{key}"

    def shown(self, key: BlobKey) -> str:
        """Return the address of a blob as the tools of AWS take it."""
        return f"s3://{'/'.join(filter(None, (self.name, self.prefix, self.path(key))))}"

    def signed(
        self,
        path: str,
        keys: Keys,
        at: datetime,
        expires_s: int,
        *,
        method: str = "GET",
        answer: Mapping[str, str] | None = None,
    ) -> str:
        """Return an address at which this object can be read from `at` on for so many seconds. `path`: below the
        prefix. `answer`: headers that the answer shall have, such as `content-type`."""
        whole = "/".join(filter(None, ("" if self.virtual else self.name, self.prefix, path)))
        resource = "/" + quote(whole, safe="/-_.~")
        day, moment = f"{at:%Y%m%d}", f"{at:%Y%m%dT%H%M%SZ}"
        scope = f"{day}/{self.region}/s3/aws4_request"
        query = {
            "X-Amz-Algorithm": _ALGORITHM,
            "X-Amz-Credential": f"{keys.access}/{scope}",
            "X-Amz-Date": moment,
            "X-Amz-Expires": str(expires_s),
            "X-Amz-SignedHeaders": "host",
            **({"X-Amz-Security-Token": keys.token} if keys.token else {}),
            **{f"response-{name}": value for name, value in (answer or {}).items()},
        }
        written = "&".join(f"{_escaped(name)}={_escaped(query[name])}" for name in sorted(query, key=_escaped))
        host = urlsplit(self.origin).netloc
        request = "\n".join((method, resource, written, f"host:{host}", "", "host", "UNSIGNED-PAYLOAD"))
        text = "\n".join((_ALGORITHM, moment, scope, hashlib.sha256(request.encode()).hexdigest()))
        key = f"AWS4{keys.secret}".encode()
        for part in (day, self.region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        return f"{self.origin}{resource}?{written}&X-Amz-Signature={signature}"


def _origin(endpoint: str) -> str:
    """Return an endpoint as clients name it in the Host header, which is signed: in small letters, and without the
    port that its scheme has anyway. Raises ValueError."""
    try:
        parts = urlsplit(endpoint.rstrip("/"))
        port, usual = parts.port, {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        usual = None
    if usual is None or not parts.hostname or parts.path or parts.query or parts.fragment or parts.username:
        raise ValueError("endpoint must be an address such as https://s3.example.org, with nothing behind it")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, usual) else "")


def _escaped(text: str) -> str:
    return quote(text, safe="-_.~")
