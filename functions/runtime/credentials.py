"""Who is known by a token: lines `NAME RIGHTS SECRET`, of which the secret is a token, or `sha256:` and its digest.

Empty lines and those that begin with # are passed over. Nothing here knows a token, only digests.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

T = TypeVar("T")

TOKEN_CHARACTERS: Final = 16


def lines(text: str, whose: str) -> Iterator[tuple[int, str, str, str]]:
    """Number, name, rights and secret of each line; raise ValueError that names the line of `whose`."""
    for number, line in enumerate(text.splitlines(), 1):
        parts = line.split()
        if not parts or parts[0].startswith("#"):
            continue
        if len(parts) != 3:
            raise ValueError(f"line {number} of {whose} must be NAME RIGHTS SECRET, got {len(parts)} parts")
        yield number, parts[0], parts[1], parts[2]


def digest(secret: str, line: int, whose: str) -> str:
    """The digest of a line's secret; raise ValueError that names the line."""
    if secret.startswith("sha256:"):
        if not re.fullmatch("sha256:[0-9a-f]{64}", secret):
            raise ValueError(f"line {line} of {whose}: sha256: and 64 hexadecimal digits are expected")
        return secret.removeprefix("sha256:")
    if len(secret) < TOKEN_CHARACTERS:
        raise ValueError(f"line {line} of {whose}: a token has at least {TOKEN_CHARACTERS} characters")
    return sha256(secret)


def sha256(token: str) -> str:
    """A token's digest."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def find(by_digest: Mapping[str, T], token: str) -> T | None:
    """Whose token it is; every digest is compared, and in constant time."""
    given, found = sha256(token), None
    for each, known in by_digest.items():
        if hmac.compare_digest(each, given):
            found = known
    return found
