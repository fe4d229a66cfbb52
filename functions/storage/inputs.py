"""The bytes of a job's input, wherever they are: inline, in the store, or behind a URL."""

import hashlib

from events.problem import JobFailed, TryAgain
from events.types import Input
from functions.net.guard import Guard
from functions.storage.store import Store


def load(source: Input, *, store: Store, guard: Guard, limit_bytes: int, timeout_s: float = 30.0) -> bytes:
    """The input's bytes, checked against its sha256 when it has one.

    Raises JobFailed (`source-refused`, `source-mismatch`), and TryAgain when the store or the URL's server is down.
    """
    content = _content(source, store, guard, limit_bytes, timeout_s)
    if len(content) > limit_bytes:
        raise JobFailed("source-refused", f"the source must be at most {limit_bytes} bytes, got {len(content)}")
    if source.sha256 is not None:
        _check_sha256(content, source.sha256)
    return content


def _check_sha256(content: bytes, expected: str) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != expected:
        raise JobFailed("source-mismatch", f"the source's sha256 must be {expected}, got {sha256}")


def _content(source: Input, store: Store, guard: Guard, limit_bytes: int, timeout_s: float) -> bytes:
    if source.url is not None:
        return _downloaded(source.url, guard, limit_bytes, timeout_s)
    if source.key is not None:
        return _stored(source.key, store, limit_bytes)
    return source.data_base64 or b""


def _downloaded(url: str, guard: Guard, limit_bytes: int, timeout_s: float) -> bytes:
    # httpx is a third of a start, which a job whose input comes inline or from the store does not owe
    from functions.net.download import SourceRefused, SourceUnavailable, download

    try:
        return download(url, guard=guard, limit_bytes=limit_bytes, timeout_s=timeout_s).content
    except SourceRefused as error:
        raise JobFailed("source-refused", str(error)) from error
    except SourceUnavailable as error:
        if error.retry_after_s is None:
            raise TryAgain(str(error)) from error
        raise TryAgain(str(error), error.retry_after_s) from error


def _stored(key: str, store: Store, limit_bytes: int) -> bytes:
    try:
        return store.get(key, limit_bytes=limit_bytes)
    except JobFailed:
        raise
    except ValueError as error:  # obstore, for a key such as "../x" or "a//b"
        raise JobFailed("source-refused", f"the key must be a path in the store, got {key!r}: {error}") from error
