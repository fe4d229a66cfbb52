"""Futures that may be done already, since a connection's end answers all that waits."""

import asyncio
from typing import Any

from functions.amqp.errors import ServerUnavailable


def resolve(future: "asyncio.Future[Any]", value: object) -> None:
    """Give a future its value unless it is done."""
    if not future.done():
        future.set_result(value)


def fail(future: "asyncio.Future[Any]", error: object) -> None:
    """Give a future its error unless it is done."""
    if not future.done():
        future.set_exception(error if isinstance(error, Exception) else ServerUnavailable(str(error)))
