"""Durations as ISO 8601 writes them, of a request's attributes; the linter, which stands alone, has its own."""

import re
from typing import Final

_NUMBER: Final = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
_ISO: Final = re.compile(rf"P(?:{_NUMBER}D)?(?:T(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?")


def duration_s(text: str) -> float | None:
    """Seconds of an ISO 8601 duration of days, hours, minutes and seconds (`PT1M30S`); None for anything else."""
    found = _ISO.fullmatch(text)
    if found is None or not any(found.groups()):
        return None
    days, hours, minutes, seconds = (float(each or 0) for each in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
