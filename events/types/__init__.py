"""The contract: one frozen struct per event type; lengths in the unit that the field's name ends with.

A class name gives its event type: `ImageRequested` is `dev.errands.image.requested.v1`. Requests refuse unknown
fields, so that a misspelt option fails the job instead of being ignored; readers of the other types accept them.
Adding an optional field keeps the version; any other change is a new class with a new version.

A job's structs are a module of this folder, and one line here.
"""

import re
from functools import cache

from msgspec import Struct

from events.types.base import *  # noqa: F403  # what the module declares, and no list of it to keep
from events.types.call import *  # noqa: F403
from events.types.fetch import *  # noqa: F403
from events.types.graph import *  # noqa: F403
from events.types.ics import *  # noqa: F403
from events.types.image import *  # noqa: F403
from events.types.message import *  # noqa: F403
from events.types.onboarding import *  # noqa: F403
from events.types.query import *  # noqa: F403
from events.types.report import *  # noqa: F403
from events.types.signal import *  # noqa: F403

PHASES = ("Requested", "Completed", "Failed", "Deadlettered")


@cache
def event_type(struct: type[Struct]) -> str:
    """The CloudEvents `type` of a struct: `ImageRequested` is `dev.errands.image.requested.v1`.

    A class name may end with a version: `ImageRequestedV2`. Raises ValueError for any other name.
    """
    parts = re.fullmatch(rf"([A-Z][A-Za-z0-9]*?)({'|'.join(PHASES)})(?:V([0-9]+))?", struct.__name__)
    if parts is None:
        raise ValueError(f"an event class is named <Job><{'|'.join(PHASES)}>[V<n>], got {struct.__name__}")
    job, phase, version = parts.groups()
    return f"dev.errands.{job.lower()}.{phase.lower()}.v{version or 1}"


def sibling_type(type_: str, phase: str) -> str:
    """The type of the same job in another phase: (`...image.requested.v1`, `failed`) is `...image.failed.v1`."""
    stem, _, version = type_.rpartition(".")
    return f"{stem.rpartition('.')[0]}.{phase}.{version}"


REGISTRY: dict[str, type[Struct]] = {
    event_type(each): each
    for each in list(globals().values())
    if isinstance(each, type) and issubclass(each, Struct) and each.__name__.endswith(PHASES)
}
