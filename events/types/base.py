"""What the structs of the contract are made of: their bases, the names and lengths they share, and artefacts."""

from typing import Annotated

from msgspec import Meta, Struct, field

# `$` alone would let a final line feed pass.
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$(?!\n)", description="a file name, no path")]
# A file's name in any language, as one part of a path on every system: no separator, no wildcard, nothing that is not
# seen (controls, line ends, marks that turn the direction of writing), and neither hidden, nor an option of a command,
# nor ending where Windows cuts it.
FileName = Annotated[
    str,
    Meta(
        max_length=100,
        pattern='^(?![-. ])[^\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff/\\\\:*?"<>|]+'
        "(?<![. ])$(?!\\n)",
        description="a file's name in any language, no path",
        examples=["Rechnung März 2026.pdf"],
    ),
]
Text = Annotated[str, Meta(min_length=1, max_length=1_000)]
LongText = Annotated[str, Meta(max_length=100_000)]
# in a field's `extra`: masked where dead letters are shown; of a secret no error quotes the value either
PERSONAL = {"personal": True}
SECRET = {"personal": True, "secret": True}
Email = Annotated[
    str,
    Meta(
        max_length=254,
        pattern=r"^[^@\s<>,;:\"]+@[^@\s<>,;:\"]+$(?!\n)",
        description="an e-mail address",
        extra=PERSONAL,
    ),
]
PersonName = Annotated[Text, Meta(extra=PERSONAL)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)", description="lower-case hexadecimal")]


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of what a caller sends."""


class Result(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of what Errands answers."""


class Input(Request, frozen=True, kw_only=True):
    """Bytes to work on: exactly one of a `url`, a `key` in the store, or `data_base64` inline."""

    url: Annotated[str, Meta(max_length=8_192)] | None = None
    key: Annotated[str, Meta(max_length=1_024)] | None = None
    data_base64: bytes | None = None
    sha256: Sha256 | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("url", "key", "data_base64") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of url, key, data_base64 is expected, got {' and '.join(given) or 'none'}")


class Artifact(Result, frozen=True, kw_only=True):
    """A stored result. `key` names it in the store, for a later job; `url` is where the API fetches it.

    `expires_at` (RFC 3339) is when `url` stops working; absent when it does not expire.
    """

    name: str
    media_type: str
    size_bytes: int
    sha256: str
    key: str
    url: str
    expires_at: str | None = None


class DeadLetter(Result, frozen=True, kw_only=True):
    """A job that was tried, could not be delivered, and is kept for a person to mend and replay.

    `code` is the last HTTP status, or -1 when no answer came; `attempts` is absent where the broker does not say.
    """

    dead_letter: str = field(name="letter")
    code: int
    destination: str
    error: str | None = None
    attempts: int | None = None


def refuse_repeated(names: list[str], field: str) -> None:
    """ValueError for names that stand twice in a field."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{field} must have different names, got {', '.join(repeated)} twice")
