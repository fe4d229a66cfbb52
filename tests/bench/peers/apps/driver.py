"""The API that hands jobs over, in the environment of a system's client: `python driver.py CLIENT`.

It imports nothing but the standard library and CLIENT, a module here whose `connect()` gives one thread's
`hand_over(kind, id)`, which returns when the job is accepted. Orders come as lines of JSON on standard input, and each
is answered with the moments (CLOCK_MONOTONIC, in seconds) at which its jobs were handed over and accepted.
"""

import importlib
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

HandOver = Callable[[str, str], None]


class Api:
    """Threads, each with a connection of its own, that take turns at the jobs of an order."""

    def __init__(self, connect: Callable[[], HandOver]) -> None:
        self._connect = connect
        self._connected: list[HandOver] = []

    def carry_out(self, order: dict[str, Any]) -> list[tuple[float, float]]:
        """Hand over `count` jobs, `per_s` of them a second or as fast as it goes with `threads` at once."""
        while len(self._connected) < order["threads"]:
            self._connected.append(self._connect())
        moments: list[tuple[float, float]] = [(0.0, 0.0)] * order["count"]
        numbers, lock = iter(range(order["count"])), threading.Lock()
        started_s = time.monotonic() + 0.05

        def work(hand_over: HandOver) -> None:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                if order["per_s"]:
                    time.sleep(max(0.0, started_s + number / order["per_s"] - time.monotonic()))
                before_s = time.monotonic()
                hand_over(order["kind"], f"{order['prefix']}{number}")
                moments[number] = before_s, time.monotonic()

        threads = [threading.Thread(target=work, args=(each,)) for each in self._connected[: order["threads"]]]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        return moments


def main() -> None:
    """Orders in, moments out; it ends with its standard input."""
    api = Api(importlib.import_module(sys.argv[1]).connect)
    responses, sys.stdout = sys.stdout, sys.stderr  # a client may print
    for line in sys.stdin:
        print(json.dumps(api.carry_out(json.loads(line))), file=responses, flush=True)


if __name__ == "__main__":
    main()
