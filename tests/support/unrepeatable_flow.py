"""A flow that asks the machine, for the linter; and beside it what may."""

import random
import uuid as ids
from datetime import datetime
from pathlib import Path

from events.flow import Flow, flow
from events.types import Request


class UnrepeatableRequested(Request, frozen=True, kw_only=True):
    pass


@flow(UnrepeatableRequested)
async def unrepeatable(_: UnrepeatableRequested, do: Flow) -> None:
    do.random.random()
    if do.now < datetime.now(do.now.tzinfo):
        await do.call("first", dice())


def dice() -> str:
    return f"{random.random()} {ids.uuid4()}"  # noqa: S311  # what is found


def elsewhere() -> str:
    return Path(__file__).read_text()
