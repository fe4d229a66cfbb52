"""The threads in which handlers that compute or block do their work: THREADS of them, for all functions of a process.

They start with the first job, never with an import: a server may fork between the two.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

T = TypeVar("T")


@cache
def pool() -> ThreadPoolExecutor:
    """Four a processor, where the environment does not say; without a thread so far."""
    return ThreadPoolExecutor(int(os.environ.get("THREADS", (os.cpu_count() or 1) * 4)), thread_name_prefix="job")


async def in_thread(work: Callable[..., T], *arguments: object) -> T:
    """What `work` returns, without holding up the loop."""
    return await asyncio.get_running_loop().run_in_executor(pool(), work, *arguments)
