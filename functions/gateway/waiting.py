"""Those who wait for something to befall a job: who asks for its outcome, and its streams."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable


class Waiters:
    """By the key of their job; all of them are woken, and look themselves at what it was."""

    def __init__(self) -> None:
        self._of: dict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self.closed = False  # nobody is to wait any more

    @property
    def any(self) -> bool:
        """Whether somebody waits."""
        return bool(self._of)

    def wake(self, keys: Iterable[str]) -> None:
        """Something has befallen these jobs, and can be read of them."""
        for key in keys:
            for waiter in self._of.pop(key, ()):
                if not waiter.done():
                    waiter.set_result(None)

    def close(self) -> None:
        """The server stops: have all look, and see that it does."""
        self.closed = True
        self.wake(list(self._of))

    def of(self, key: str) -> "asyncio.Future[None]":
        """Done with the next thing that befalls the job: to be had before one looks at it."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._of[key].add(waiter)
        waiter.add_done_callback(lambda done: self._forget(key, done))
        return waiter

    def _forget(self, key: str, waiter: "asyncio.Future[None]") -> None:
        waiters = self._of.get(key)
        if waiters is not None:
            waiters.discard(waiter)
            if not waiters:
                del self._of[key]
