"""Values of a manifest as the runner needs them: read, or refused with file, line and what is expected."""

import math

from knative.manifests.declared import duration_s
from knative.manifests.documents import Place


def text(place: Place) -> str:
    """A single value as a text; a number or boolean as YAML writes it."""
    value = place.value
    if value is None:
        raise place.error(f"{place.path[-1]} is required")
    if isinstance(value, dict | list):
        raise place.error("a single value is expected")
    return str(value).lower() if isinstance(value, bool) else str(value)


def texts(place: Place) -> dict[str, str]:
    """A mapping of texts."""
    if not place:
        raise place.error(f"{place.path[-1]} is required")
    if not isinstance(place.value, dict):
        raise place.error("a mapping is expected")
    return {name: text(each) for name, each in place.members}


def whole(place: Place, lowest: int, highest: int, default: int) -> int:
    """A whole number within bounds; the default where there is none."""
    if not place:
        return default
    number = place.whole
    if number is None or not lowest <= number <= highest:
        raise place.error(f"a whole number from {lowest} to {highest} is expected, got {text(place)!r}")
    return number


def positive(place: Place) -> float:
    """A number over 0."""
    try:
        number = float(text(place))
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise place.error(f"a number over 0 is expected, got {text(place)!r}")
    return number


def seconds(place: Place) -> float:
    """An ISO 8601 duration."""
    found = duration_s(text(place))
    if found is None:
        raise place.error(f"an ISO 8601 duration such as PT30S is expected, got {text(place)!r}")
    return found
