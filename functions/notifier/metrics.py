"""The circuits in Prometheus' text format 0.0.4, for GET /metrics: each process tells of itself."""

from collections.abc import Iterable, Iterator
from typing import Final

from functions.notifier.circuits import Circuit

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
STATES: Final = ("closed", "half-open", "open")


def exposition(circuits: Iterable[Circuit], *, now_s: float) -> str:
    """One page of metrics."""
    return "".join(f"{line}\n" for line in _lines(tuple(circuits), now_s))


def _lines(circuits: tuple[Circuit, ...], now_s: float) -> Iterator[str]:
    yield "# TYPE errands_callbacks_total counter"
    for each in circuits:
        for result, count in sorted(each.counts.items()):
            yield f'errands_callbacks_total{{origin="{each.origin}",result="{result}"}} {count}'
    yield "# TYPE errands_callbacks_in_flight gauge"
    for each in circuits:
        yield f'errands_callbacks_in_flight{{origin="{each.origin}"}} {each.in_flight}'
    yield "# HELP errands_callback_circuit 1 for the state that the origin's circuit is in"
    yield "# TYPE errands_callback_circuit gauge"
    for each in circuits:
        for state in STATES:
            is_it = int(each.state(now_s) == state)
            yield f'errands_callback_circuit{{origin="{each.origin}",state="{state}"}} {is_it}'
