"""Answers what a template asks for while it is rendered: files of its folder in the store, and of the allowed hosts.

The rendering process has neither the network nor the store; every file it gets went through here, and was counted.
"""

import mimetypes
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import msgspec

from events.problem import JobFailed, TryAgain
from functions.net.guard import AddressRefused, Guard
from functions.report.draft import FOLDER_URL, Asset, Wanted
from functions.storage.store import Store


class AssetRefused(ValueError):
    """The file cannot be had, and a retry changes nothing."""


@dataclass(frozen=True)
class HostGuard(Guard):
    """A guard that lets only named hosts be called; each redirect passes it again."""

    hosts: frozenset[str] = frozenset()

    @classmethod
    def of(cls, guard: Guard, hosts: str) -> "HostGuard":
        """From a setting such as "cdn.example,fonts.example"."""
        named = frozenset(each.strip().lower() for each in hosts.split(",") if each.strip())
        return cls(guard.allowed_networks, guard.lookup, named)

    def require_host(self, host: str) -> None:
        """AddressRefused for another host, which may be an address in the URL."""
        if host.lower() not in self.hosts:
            raise AddressRefused(f"{host} is not one of the allowed hosts ({', '.join(sorted(self.hosts)) or 'none'})")


@dataclass
class Assets:
    """One job's files. What is down is worth a retry, unless the job goes on without it (`patient` is false)."""

    store: Store
    guard: HostGuard
    folder: str | None
    limit_bytes: int
    timeout_s: float
    patient: bool = True
    used_bytes: int = 0
    used_before_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.used_before_bytes = self.used_bytes

    def start_again(self) -> None:
        """Counts from the start, as the rendering does that asks for all of them again."""
        self.used_bytes = self.used_before_bytes

    def answer(self, question: bytes) -> bytes:
        """For `Sandbox.run`: a Wanted in, an Asset out; raises TryAgain."""
        url = msgspec.msgpack.decode(question, type=Wanted).url
        try:
            asset = self._asset(url)
        except (JobFailed, AssetRefused) as error:
            asset = Asset(refusal=str(error))
        except TryAgain as error:
            if self.patient:
                raise
            asset = Asset(refusal=str(error))
        self.used_bytes += len(asset.content)
        return msgspec.msgpack.encode(asset)

    def _asset(self, url: str) -> Asset:
        left_bytes = self.limit_bytes - self.used_bytes
        if left_bytes <= 0:
            raise AssetRefused(f"all assets together must be at most {self.limit_bytes} bytes")
        if url.startswith(FOLDER_URL):
            return self._of_folder(url, left_bytes)
        if urlsplit(url).scheme.lower() not in ("http", "https"):
            raise AssetRefused("assets come from the template's folder, from data: URLs and the allowed hosts")
        return self._of_host(url, left_bytes)

    def _of_host(self, url: str, limit_bytes: int) -> Asset:
        # httpx takes a third of the function's start, and few templates load from a host
        from functions.net.download import SourceRefused, SourceUnavailable, download

        try:
            got = download(url, guard=self.guard, limit_bytes=limit_bytes, timeout_s=self.timeout_s)
        except SourceRefused as error:
            raise AssetRefused(str(error)) from error
        except SourceUnavailable as error:
            raise TryAgain(str(error)) from error
        return Asset(content=got.content, media_type=got.media_type)

    def _of_folder(self, url: str, limit_bytes: int) -> Asset:
        path = unquote(urlsplit(url).path).lstrip("/")
        if self.folder is None:
            raise AssetRefused(f"an inline template has no folder with {path} in it; use data: or an allowed host")
        if not all(part and part.strip(".") and "\\" not in part for part in path.split("/")):
            raise AssetRefused(f"a template's file must be a path inside of its folder, got {path!r}")
        try:
            content = self.store.get(f"{self.folder.strip('/')}/{path}", limit_bytes=limit_bytes)
        except JobFailed:
            raise
        except ValueError as error:  # obstore, for a key that is no path
            raise AssetRefused(f"{path!r}: {error}") from error
        return Asset(content=content, media_type=mimetypes.guess_type(path)[0])
