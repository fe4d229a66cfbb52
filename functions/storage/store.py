"""Where results go: an object store by its URL (`file:///srv/errands`, `memory:///`, `s3://bucket/prefix`).

A result's key is made of its job and its content, so a job run twice stores one result under one key. With the secret
of the installation nobody else can make that key: results, below `jobs/`, may be public, and nothing else.
"""

import hashlib
import hmac
import logging
import re
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import quote, unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, MemoryStore, S3Store, from_url

from events.http import Event
from events.job import job_key
from events.problem import JobFailed, TryAgain
from events.types import Artifact
from functions.storage import folder
from functions.storage.file_name import disposition, path_part

if TYPE_CHECKING:
    from obstore import Attributes
    from obstore.store import RetryConfig

log = logging.getLogger("errands.store")

LEDGER: Final = "ledger/"  # what Errands remembers of jobs
RESULTS: Final = "jobs/"
INPUTS: Final = (RESULTS, "templates/", "uploads/")  # what a job may name by its key: nothing that Errands remembers
SECRET_CHARACTERS: Final = 32
URL_LIFETIME: Final = timedelta(days=7)  # the longest that an S3 signature may last


class Store:
    """One object store.

    `public_url` is the prefix at which the keys can be fetched over HTTP, where something serves them; without it an
    artefact's URL is `file://...` for a folder and a signed one for S3. What is served to anybody has names that nobody
    can compute, made with the `names_secret`. One that is not `patient` gives up on S3 after two seconds, for what can
    be done without.
    """

    def __init__(
        self, url: str, *, public_url: str | None = None, names_secret: str | None = None, patient: bool = True
    ) -> None:
        if public_url and not names_secret:
            raise ValueError("STORE_PUBLIC_URL needs a STORE_NAMES_SECRET: without it anybody computes results' names")
        if names_secret and len(names_secret) < SECRET_CHARACTERS:
            raise ValueError(f"STORE_NAMES_SECRET must have {SECRET_CHARACTERS} characters, got {len(names_secret)}")
        self._names_secret = (names_secret or "").encode()
        self._url = url
        self._public_url = public_url
        self._store = _open(url, patient=patient)
        self._folder = Path(unquote(urlsplit(url).path)) if isinstance(self._store, LocalStore) else None

    def put(self, cause: Event, name: str, content: bytes, media_type: str, *, now: datetime) -> Artifact:
        """Store a job's result; raise TryAgain when the store is down. In a folder it outlives a power loss once it is
        told: the ledger of replies has it `kept` before.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        key = f"{RESULTS}{self._named(job_key(cause), sha256)}/{path_part(name)}"
        headers: Attributes = {"Content-Type": media_type, "Content-Disposition": disposition(name)}
        attributes = headers if isinstance(self._store, S3Store) else None
        self._put(key, content, name, attributes)
        url, expires_at = self.result_url(key, now)
        return Artifact(
            name=name,
            media_type=media_type,
            size_bytes=len(content),
            sha256=sha256,
            key=key,
            url=url,
            expires_at=expires_at,
        )

    def get(self, key: str, *, limit_bytes: int) -> bytes:
        """Read an object; raise JobFailed when there is none or it is too large, TryAgain when the store is down."""
        _check_key(key)
        try:
            self._require_plain(key)
            found = obstore.get(self._store, key)
            if found.meta["size"] > limit_bytes:
                size_bytes = found.meta["size"]
                raise JobFailed("source-refused", f"{key} must be at most {limit_bytes} bytes, got {size_bytes}")
            return bytes(found.bytes())
        except FileNotFoundError as error:
            raise JobFailed("source-refused", f"the store has no key {key!r}") from error
        except (BaseError, OSError) as error:
            raise TryAgain(f"the store does not give {key}: {error}") from error

    def result_url(self, key: str, now: datetime) -> tuple[str, str | None]:
        """Where a result can be fetched from now on, and until when, where that ends; raise TryAgain when it cannot be
        signed.
        """
        if self._public_url:
            return f"{self._public_url.rstrip('/')}/{quote(key)}", None
        if not isinstance(self._store, S3Store):
            return f"{self._url.rstrip('/')}/{quote(key)}", None
        expires_at = (now + URL_LIFETIME).isoformat(timespec="seconds").replace("+00:00", "Z")
        try:
            return obstore.sign(self._store, "GET", key, URL_LIFETIME), expires_at
        except (BaseError, OSError) as error:
            raise TryAgain(f"the store does not sign {key}: {error}") from error

    def keep(self, keys: Iterable[str]) -> None:
        """Bring results to the disk, where the store is a folder; raise TryAgain when that fails."""
        if self._folder is None:
            return
        try:
            folder.sync(self._folder, keys)
        except OSError as error:
            raise TryAgain(f"the store does not keep a result: {error}") from error

    def create(self, key: str, content: bytes) -> bool:
        """Write an object unless there is one; return whether it was written. Atomic on every kind of store, and on the
        disk when this returns. An empty one, which a power loss leaves, is none.
        """
        if self._create(key, content):
            return True
        if self.read(key) is not None:
            return False
        self.delete(key)
        return self._create(key, content)

    def read(self, key: str) -> bytes | None:
        """Read a small object of our own, or None. None of them is empty: one that is was cut off, and is none."""
        try:
            self._require_plain(key)
            content = bytes(obstore.get(self._store, key).bytes())
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise TryAgain(f"the store does not give {key}: {error}") from error
        if not content:
            log.error("%s is empty, as a power loss leaves it: it counts as none, and is replaced", key)
        return content or None

    def write(self, key: str, content: bytes) -> None:
        """Write a small object of our own, over the one that is there: whole, but not outliving a power loss."""
        self._put(key, content, key, None)

    def list(self, prefix: str) -> tuple[str, ...]:
        """The keys of our own objects below a prefix that ends with a slash."""
        try:
            return tuple(each["path"] for page in obstore.list(self._store, prefix) for each in page)
        except FileNotFoundError:
            return ()
        except (BaseError, OSError) as error:
            raise TryAgain(f"the store does not list {prefix}: {error}") from error

    def delete(self, key: str) -> None:
        """Remove an object; it is no error when there is none."""
        try:
            obstore.delete(self._store, key)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise TryAgain(f"the store does not remove {key}: {error}") from error

    def _named(self, job: str, sha256: str) -> str:
        """The folder of one result of a job."""
        if not self._names_secret:
            return f"{job}/{sha256[:16]}"
        place = uuid.UUID(bytes=hmac.digest(self._names_secret, job.encode(), "sha256")[:16])
        content = hmac.digest(self._names_secret, f"{job}\n{sha256}".encode(), "sha256")
        return f"{place}/{content.hex()[:16]}"

    def _put(self, key: str, content: bytes, name: str, attributes: "Attributes | None") -> None:
        try:
            if self._folder is not None:
                folder.replace(self._folder, key, content)
            else:
                obstore.put(self._store, key, content, attributes=attributes, use_multipart=False)
        except (BaseError, OSError) as error:
            raise TryAgain(f"the store does not take {name}: {error}") from error

    def _create(self, key: str, content: bytes) -> bool:
        try:
            if self._folder is not None:
                return folder.create(self._folder, key, content)
            obstore.put(self._store, key, content, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        except (BaseError, OSError) as error:
            raise TryAgain(f"the store does not take {key}: {error}") from error
        return True

    def _require_plain(self, key: str) -> None:
        """What is reached by a link in a folder is not there: its key is asked for by others than who made the link."""
        if self._folder is not None and folder.leads_astray(self._folder, key):
            raise FileNotFoundError(key)


def _check_key(key: str) -> None:
    """Refuse what is no input, however it is spelt, and what nothing is ever stored under."""
    if not key.startswith(INPUTS):
        raise JobFailed("source-refused", f"the key must begin with {', '.join(INPUTS)}, got {key!r}")
    spelt, parts = unquote(key).replace("\\", "/").split("/"), key.split("/")
    climbs = {".", ".."} & {*spelt}
    if climbs or not all(0 < len(part.encode()) <= 255 for part in parts) or re.search(r"#\d+$", key):
        raise JobFailed("source-refused", f"the key must be a path in the store, such as jobs/1/a.png, got {key!r}")


def _open(url: str, *, patient: bool) -> LocalStore | MemoryStore | S3Store:
    parts = urlsplit(url)
    if parts.scheme == "file":
        if parts.netloc or not parts.path.startswith("/") or parts.query or parts.fragment:
            raise ValueError(f"a file:// STORE_URL must have three slashes and an absolute path, got {url!r}")
        return LocalStore(unquote(parts.path), mkdir=True)
    if parts.scheme == "memory":
        return MemoryStore()
    if parts.scheme == "s3":
        if patient:
            return cast(S3Store, from_url(url))
        once: RetryConfig = {"max_retries": 0, "retry_timeout": timedelta(seconds=2)}
        return cast(S3Store, from_url(url, client_options={"timeout": "2s"}, retry_config=once))
    raise ValueError(f"STORE_URL must start with file://, memory:// or s3://, got {url!r}")
