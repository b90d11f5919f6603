"""The errors of a bucket, each as one plain sentence. The texts of obstore and of servers hold addresses, key names and
what was signed, so that none of them is shown or logged.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError

from storage.blobs import standing
from storage.errors import MediaStoreError

_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
_NO_SUCH_KEY = "<Code>NoSuchKey</Code>"
_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_SENTENCES = {
    "NoSuchBucket": "the media store has no such bucket",
    "AccessDenied": "the media store refuses these keys: they don't allow what is needed in this bucket",
    "AllAccessDisabled": "the media store refuses these keys: they don't allow what is needed in this bucket",
    "InvalidAccessKeyId": "the media store does not know the access key",
    "XAdminUserNotFound": "the media store does not know the access key",
    "SignatureDoesNotMatch": "the secret key is not that of the access key",
    "ExpiredToken": "the keys of the media store have expired",
    "InvalidToken": "the session token of the media store is not valid",
    "RequestTimeTooSkewed": "the clock of this machine is not that of the media store",
    "RequestExpired": "the clock of this machine is not that of the media store",
    "SlowDown": "the media store asks to be asked less often",
    "PermanentRedirect": "the bucket is in another region, or has another endpoint",
    "AuthorizationHeaderMalformed": "the bucket is in another region",
    "BadDigest": "bytes were changed on their way to the media store",
    "XAmzContentChecksumMismatch": "bytes were changed on their way to the media store",
    "XAmzContentSHA256Mismatch": "bytes were changed on their way to the media store",
    "QuotaExceeded": "the media store is full",
    "XMinioStorageFull": "the media store is full",
}


def sentence(error: BaseException) -> str:
    """Say what is wrong."""
    text = str(error)
    if (code := _CODE.search(text)) is not None:
        return _SENTENCES.get(code[1], f"the media store refuses: {code[1]}")
    if (status := _STATUS.search(text)) is not None:
        refused = status[1] in ("401", "403")
        return _SENTENCES["AccessDenied"] if refused else f"the media store answers with an error: {status[1]}"
    if "169.254." in text or "credential" in text.lower():
        return "there are no keys for the media store: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set"
    return "the media store can't be reached"


@contextmanager
def told() -> Iterator[None]:
    """Turn what obstore raises into MediaStoreError, or FileNotFoundError where the server says that an object is not
    there."""
    try:
        yield
        standing.note(answered=True)
    except FileNotFoundError as error:
        if error.errno is not None:
            raise  # a file of ours
        # A server that is none of S3, and some for a key that they don't know, answer 404 too.
        missing = _NO_SUCH_KEY in str(error)
        standing.note(answered=missing)
        if not missing:
            raise MediaStoreError(sentence(error)) from None
        raise FileNotFoundError(2, "the blob is not in the media store") from None
    except (BaseError, PermissionError, TimeoutError, ConnectionError) as error:
        standing.note(answered=False)
        raise MediaStoreError(sentence(error)) from None
