"""The URL of an HTTP request, read once: who is asked whether it may be called, and where the connection goes, are one.

Strict where parsers differ: RFC 3986's form of http and https alone, and of a host a DNS name or an address, no more.
Refused is what some parser reads in another way: backslashes, white space and control characters anywhere (urllib and
yarl take some of them out), a user, a port that is not plain digits (yarl takes `+80`, `8_0` and full-width ones for
80), a host with a percent sign, an IPv6 zone. Names beyond ASCII become IDNA 2008 (UTS 46), and are judged afterwards.

Not done: dot segments of a path, which are the server's matter, since nothing here is allowed or refused by its path.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final
from urllib.parse import quote

PORTS: Final = {"http": 80, "https": 443}
PORT_LIMIT: Final = 65_535

_FORM = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.DOTALL)
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:@\[\]]+))(?::([0-9]{0,5}))?")
_NAME = re.compile(r"(?!.{254})[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_NOWHERE = re.compile(r"[\s\x00-\x20\x7f-\x9f\\]")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# RFC 3986: unreserved, sub-delims, ":", "@", "/", and "%" of what is encoded already
_PATH_SAFE: Final = "-._~!$&'()*+,;=:@/%"


@dataclass(frozen=True, slots=True)
class Url:
    """What a request needs of it. `host` is a name in lower case and ASCII, or an address without brackets."""

    scheme: str
    host: str
    port: int
    target: str  # path and query, percent-encoded
    is_address: bool
    authority: str  # as the Host header has it
    origin: str  # scheme, host and port (RFC 6454), the port always written

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def shown(self) -> str:
        """The URL as a log may hold it: a query may be a signature."""
        return str(self).partition("?")[0]


@lru_cache(maxsize=1_024)  # the same few for one job after another
def parsed(text: str) -> Url:
    """The URL; ValueError says what it must be, without the text, which may hold a secret."""
    form = None if _NOWHERE.search(text) else _FORM.fullmatch(text)
    if form is None:
        raise ValueError("must be an http or https URL, without white space or backslashes")
    scheme, authority, path, query = form[1].lower(), form[2], form[3], form[4]
    if scheme not in PORTS or not authority:
        raise ValueError(f"must be an http or https URL with a host, got scheme {scheme[:20]!r}")
    if "@" in authority:
        raise ValueError(f"must not hold a user name or password, got one for {authority.rpartition('@')[2][:80]}")
    host, port, is_address = _place(authority)
    port = PORTS[scheme] if port is None else port
    written = f"[{host}]" if ":" in host else host
    target = (_encoded(path, _PATH_SAFE) or "/") + (f"?{_encoded(query, _PATH_SAFE + '?')}" if query else "")
    shown_port = "" if port == PORTS[scheme] else f":{port}"
    # a name's last dot is for DNS alone: no server knows itself by it
    return Url(
        scheme, host, port, target, is_address, f"{written.rstrip('.')}{shown_port}", f"{scheme}://{written}:{port}"
    )


def _place(authority: str) -> tuple[str, int | None, bool]:
    """Host, port and whether the host is an address."""
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise ValueError("must be a URL with a DNS name or an address and maybe a port")
    port = int(parts[3]) if parts[3] else None
    if port is not None and not 1 <= port <= PORT_LIMIT:
        raise ValueError(f"must be a URL with a port of 1 to {PORT_LIMIT}, got {port}")
    if parts[1]:
        return _ipv6(parts[1]), port, True
    host = _name(parts[2])
    return host, port, _is_ipv4(host)


def _ipv6(text: str) -> str:
    try:
        return str(IPv6Address(text))
    except AddressValueError as error:
        raise ValueError("must be a URL with an IPv6 address between its brackets") from error


def _is_ipv4(host: str) -> bool:
    """In its plain form; any other, such as 127.1, is looked up as a name, and its address checked like a name's."""
    try:
        IPv4Address(host)
    except AddressValueError:
        return False
    return True


def _name(text: str) -> str:
    host = text.lower() if text.isascii() else _idna(text)
    if not _NAME.fullmatch(host):
        raise ValueError("must be a URL with a DNS name of letters, digits, hyphens and underscores")
    return host


def _idna(text: str) -> str:
    import idna  # for the few names that need it

    try:
        return idna.encode(text, uts46=True).decode("ascii")
    except UnicodeError as error:
        raise ValueError("must be a URL with a DNS name, or one that IDNA makes into one") from error


def _encoded(text: str, safe: str) -> str:
    try:
        return quote(_STRAY_PERCENT.sub("%25", text), safe=safe)
    except UnicodeEncodeError:
        raise ValueError("must be a URL of Unicode text without lone surrogates") from None
