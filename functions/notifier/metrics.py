"""The circuits in Prometheus' text format 0.0.4, for GET /metrics: each process tells of itself.

By origin alone: a job names the paths, and there may be any number of them. An origin is as its circuit is, or that of
the endpoint of it that is called least.
"""

from collections.abc import Iterator
from typing import Final

from functions.net.url import parsed
from functions.notifier.circuits import Circuit, Peers

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
STATES: Final = ("closed", "half-open", "open")


def exposition(peers: Peers) -> str:
    """One page of metrics."""
    now_s = peers.now_s
    states = {each.peer: STATES.index(each.state(now_s)) for each in peers.hosts}
    for each in peers.endpoints:
        origin = parsed(each.peer).origin
        states[origin] = max(states.get(origin, 0), STATES.index(each.state(now_s)))
    return "".join(f"{line}\n" for line in _lines(tuple(peers.hosts), states))


def _lines(hosts: tuple[Circuit, ...], states: dict[str, int]) -> Iterator[str]:
    yield "# TYPE errands_callbacks_total counter"
    for each in hosts:
        for result, count in sorted(each.counts.items()):
            yield f'errands_callbacks_total{{origin="{each.peer}",result="{result}"}} {count}'
    yield "# TYPE errands_callbacks_in_flight gauge"
    for each in hosts:
        yield f'errands_callbacks_in_flight{{origin="{each.peer}"}} {each.in_flight}'
    yield "# HELP errands_callback_circuit 1 for the state that the origin's circuit is in"
    yield "# TYPE errands_callback_circuit gauge"
    for origin, present in states.items():
        for number, state in enumerate(STATES):
            yield f'errands_callback_circuit{{origin="{origin}",state="{state}"}} {int(number == present)}'
