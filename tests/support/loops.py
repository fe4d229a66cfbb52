"""The two event loops: asyncio's own, on which tests run easily, and uvloop, on which the runner does."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import pytest
import uvloop

Run = Callable[[Coroutine[Any, Any, None]], None]

LOOPS: Final = {"asyncio": asyncio.run, "uvloop": uvloop.run}
on_both_loops = pytest.mark.parametrize("run", LOOPS.values(), ids=list(LOOPS))
