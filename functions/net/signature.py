"""What an API checks a callback by: the headers of one attempt, in one of three profiles.

    standard         Standard Webhooks 1.0 (standardwebhooks.com): over id, time and body; every secret signs
    symfony-legacy   Symfony's webhook component up to 8.1: over event name, id and body, in `Webhook-Signature`
    spatie           spatie/laravel-webhook-client: over the body, in `Signature`

Every profile sends the event's id as `webhook-id`, by which an API drops what it has had already. The last two carry
one signature, that of the first secret, and no time: a stranger who has overheard a callback may repeat it.
"""

import base64
import binascii
import hashlib
import hmac
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, get_args
from urllib.parse import quote

from events.http import STRUCTURED, Event

Profile = Literal["standard", "symfony-legacy", "spatie"]
PROFILES: Final = get_args(Profile)
PREFIX: Final = "whsec_"
SECRET_MIN_BYTES: Final = 24  # Standard Webhooks 1.0, "Symmetric": 24 to 64 bytes
# a constant: importlib.metadata reads files, and knows nothing of a source tree that is not installed
USER_AGENT: Final = "Errands/0.1.0"
# What aiohttp's and most other clients say of themselves; firewalls take a request without `accept` for a scanner's.
CLIENT: Final = {"user-agent": USER_AGENT, "accept": "*/*", "accept-encoding": "identity"}
_HEADER_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")
_PLAIN = re.compile(r"[A-Za-z0-9._/-]*")


@dataclass(frozen=True)
class Signer:
    """Signs callbacks for one endpoint."""

    profile: str
    keys: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def parse(cls, profile: str, secrets: Sequence[str], *, setting: str) -> "Signer":
        """Raises ValueError that names `setting`, where the secrets come from, and shows none of them."""
        if profile not in PROFILES:
            raise ValueError(f"CALLBACK_PROFILE must be one of {', '.join(PROFILES)}, got {profile!r}")
        if not secrets:
            raise ValueError(f"{setting} must hold at least one secret, got none")
        read = _standard_key if profile == "standard" else _text_key
        return cls(profile, tuple(read(each, f"{setting}: secret {number}") for number, each in enumerate(secrets, 1)))

    def headers(self, event: Event, body: bytes, *, now: datetime) -> dict[str, str]:
        """All headers of an attempt made at `now` (UTC)."""
        id_, timestamp = _quoted(event.id), str(math.floor(now.timestamp()))
        headers = {
            "content-type": STRUCTURED,
            **CLIENT,
            "webhook-id": id_,
            "webhook-timestamp": timestamp,
            **self._signature(event.type, id_, timestamp, body),
        }
        for name in ("traceparent", "tracestate"):
            text = event.get(name)
            if text and text.isascii():
                headers[name] = text
        return headers

    def _signature(self, type_: str, id_: str, timestamp: str, body: bytes) -> dict[str, str]:
        if self.profile == "spatie":  # DefaultSignatureValidator.php
            return {"signature": _hmac(self.keys[0], body).hex()}
        if self.profile == "symfony-legacy":  # Component/Webhook/Client/RequestParser.php
            name = _quoted(type_)
            signed = _hmac(self.keys[0], f"{name}{id_}".encode() + body).hex()
            return {"webhook-event": name, "webhook-signature": f"sha256={signed}"}
        content = f"{id_}.{timestamp}.".encode() + body
        signatures = (base64.b64encode(_hmac(key, content)).decode() for key in self.keys)
        return {"webhook-signature": " ".join(f"v1,{each}" for each in signatures)}


def split_secrets(text: str) -> tuple[str, ...]:
    """The secrets of one setting, separated by commas or spaces."""
    return tuple(each for each in re.split(r"[,\s]+", text) if each)


def _quoted(text: str) -> str:
    """For a header; most need nothing, and to be told so by `quote` takes longer than a signature."""
    return text if _PLAIN.fullmatch(text) else quote(text, safe=_HEADER_SAFE)


def _hmac(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, content, hashlib.sha256)


def _standard_key(secret: str, place: str) -> bytes:
    expected = f"must be {PREFIX} and base64 of at least {SECRET_MIN_BYTES} bytes"
    if not secret.startswith(PREFIX):
        raise ValueError(f"{place} {expected}: it does not start with {PREFIX}")
    encoded = secret.removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        raise ValueError(f"{place} {expected}: it is not base64") from None
    if len(key) < SECRET_MIN_BYTES:
        raise ValueError(f"{place} {expected}, got {len(key)}")
    return key


def _text_key(secret: str, place: str) -> bytes:
    """Symfony and spatie take a secret's text as the key, whatever it begins with."""
    key = secret.encode()
    if len(key) < SECRET_MIN_BYTES:
        raise ValueError(f"{place} must have at least {SECRET_MIN_BYTES} bytes, got {len(key)}")
    return key
