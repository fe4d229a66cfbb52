"""A file's name in any language where it is part of a path, and where it stands in a header of HTTP.

The contract's FileName has neither a separator nor what nobody sees; this is for what else paths and headers refuse.
"""

from typing import Final
from unicodedata import normalize
from urllib.parse import quote

PART_BYTES: Final = 200  # of the 255 that file systems take: a name may get an ending
ENDING_BYTES: Final = 40
# `%` would be read as an escape by whoever decodes a key twice, and `#` with digits is no key for object_store
NOT_IN_A_KEY: Final = str.maketrans("%#", "__")
ATTRIBUTE: Final = "!#$&+-.^_`|~"  # RFC 5987 3.2.1, beside letters and digits


def path_part(name: str) -> str:
    """The name as one part of a key or path: composed (NFC), so that it is one name on every file system, and cut
    before its ending where it is too long.
    """
    part = normalize("NFC", name).translate(NOT_IN_A_KEY)
    if len(part.encode()) <= PART_BYTES:
        return part
    stem, dot, ending = part.rpartition(".")
    if not dot or len(ending.encode()) > ENDING_BYTES:
        stem, dot, ending = part, "", ""
    room_bytes = PART_BYTES - len(f"{dot}{ending}".encode())
    return stem.encode()[:room_bytes].decode(errors="ignore").rstrip(". ") + dot + ending


def disposition(name: str, *, kind: str = "inline") -> str:
    """Content-Disposition of a response: `inline` shows the file, `attachment` does not, and both say under which name
    it is saved (RFC 6266 4.3).

    A reader that knows no `filename*` gets the name with `_` for what is not plain ASCII.
    """
    plain = "".join(each if each.isascii() and each.isprintable() and each not in '"\\%' else "_" for each in name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe=ATTRIBUTE)}"
