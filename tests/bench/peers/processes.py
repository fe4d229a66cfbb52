"""What trees of processes take of a machine: processor time and memory, as /proc tells them."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
GONE: Final = (FileNotFoundError, ProcessLookupError)  # a process that ended while it was looked at


@dataclass(frozen=True)
class Memory:
    """`pss_bytes` shares what is shared among those that share it, `rss_bytes` counts it for each."""

    pss_bytes: int
    rss_bytes: int


def cpu_s(roots: Iterable[int]) -> float:
    """Processor time of the trees, that of children which have ended included."""
    return sum(_ticks(pid) for pid in tree(roots)) / TICKS_PER_S


def memory(roots: Iterable[int]) -> Memory:
    """The sum of the trees."""
    each = [_memory(pid) for pid in tree(roots)]
    return Memory(sum(one.pss_bytes for one in each), sum(one.rss_bytes for one in each))


def tree(roots: Iterable[int]) -> list[int]:
    """The processes and all that come from them."""
    found: list[int] = []
    for pid in roots:
        found += [pid, *tree(_children(pid))]
    return found


def _children(pid: int) -> list[int]:
    """Of every thread: a child belongs to the thread that started it."""
    try:
        return [int(each) for task in Path(f"/proc/{pid}/task").glob("*/children") for each in task.read_text().split()]
    except GONE:
        return []


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except GONE:
        return 0
    return sum(int(each) for each in fields[11:15])  # utime, stime, cutime, cstime: proc(5)


def _memory(pid: int) -> Memory:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except GONE:
        return Memory(0, 0)
    sizes_kb = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return Memory(sizes_kb.get("Pss", 0) * 1024, sizes_kb.get("Rss", 0) * 1024)
