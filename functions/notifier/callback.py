"""What a callback to the API looks like: a CloudEvent in structured mode, signed by Standard Webhooks 1.0.

The signature covers the id, the attempt's time and the body. While a secret rotates, every configured secret signs and
the receiver needs to know any one of them. The id is the event's, so a callback repeated is one the API can drop.
"""

import base64
import binascii
import math
import re
from collections.abc import Iterable
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import quote

from standardwebhooks import Webhook

from events.http import STRUCTURED, Event

PREFIX: Final = "whsec_"
KEY_MIN_BYTES: Final = 24  # Standard Webhooks 1.0, "Symmetric": 24 to 64 bytes
RETRY_LIMIT_S: Final = 3_600.0
# a constant: importlib.metadata reads files, and knows nothing of a source tree that is not installed
USER_AGENT: Final = "Errands/0.1.0"
_HEADER_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")


def read_secrets(text: str) -> tuple[Webhook, ...]:
    """The secrets of a setting, `whsec_...` separated by commas or spaces; raise ValueError that shows none of them."""
    secrets = [each for each in re.split(r"[,\s]+", text) if each]
    if not secrets:
        raise ValueError(f"CALLBACK_SECRETS must hold at least one {PREFIX}... secret, got none")
    return tuple(Webhook(_key(each, number)) for number, each in enumerate(secrets, 1))


def headers(event: Event, body: bytes, *, secrets: Iterable[Webhook], now: datetime) -> dict[str, str]:
    """The headers of one attempt, made at `now` (UTC)."""
    id_ = quote(event.id, safe=_HEADER_SAFE)
    signatures = [each.sign(id_, now, body.decode()) for each in secrets]
    trace = {name: value for name in ("traceparent", "tracestate") if (value := event.get(name)) and value.isascii()}
    return {
        "content-type": STRUCTURED,
        "user-agent": USER_AGENT,
        "accept-encoding": "identity",
        "webhook-id": id_,
        "webhook-timestamp": str(math.floor(now.timestamp())),
        "webhook-signature": " ".join(signatures),
        **trace,
    }


def retry_after_s(value: str | None, *, now: datetime) -> float | None:
    """The wait that a Retry-After header asks for, in seconds or as a date (RFC 9110 10.2.3), at most an hour."""
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return min(float(value), RETRY_LIMIT_S)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    # the parser gives no zone for "-0000"; HTTP dates are in GMT
    left_s = (date.replace(tzinfo=date.tzinfo or now.tzinfo) - now).total_seconds()
    return min(max(left_s, 0.0), RETRY_LIMIT_S)


def _key(secret: str, number: int) -> bytes:
    expected = f"CALLBACK_SECRETS must hold {PREFIX} and base64 of at least {KEY_MIN_BYTES} bytes"
    if not secret.startswith(PREFIX):
        raise ValueError(f"{expected}: number {number} does not start with {PREFIX}")
    encoded = secret.removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        raise ValueError(f"{expected}: number {number} is not base64") from None
    if len(key) < KEY_MIN_BYTES:
        raise ValueError(f"{expected}: number {number} has {len(key)}")
    return key
