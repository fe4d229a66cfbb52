"""What a function's process prints comes into the runner's log line by line, whatever pieces it comes in."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from knative.local.process import output
from knative.local.process.output import LINE_LIMIT_BYTES, relay


@dataclass
class Seen:
    kept: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)


def relayed(write: Callable[[int, Seen], Awaitable[None]]) -> Seen:
    """What comes of what `write` writes into a pipe."""
    seen = Seen()

    async def run() -> None:
        read_fd, write_fd = os.pipe()
        relaying = asyncio.create_task(relay(read_fd, keep=seen.kept.extend, show=seen.shown.append))
        await write(write_fd, seen)
        os.close(write_fd)
        await asyncio.wait_for(relaying, 10)

    asyncio.run(run())
    return seen


def pieces(*parts: bytes) -> Callable[[int, Seen], Awaitable[None]]:
    """Writes one after the other, each read by itself."""

    async def write(write_fd: int, _seen: Seen) -> None:
        for part in parts:
            for start in range(0, len(part), 4096):
                os.write(write_fd, part[start : start + 4096])
                await asyncio.sleep(0.001)

    return write


def test_a_line_is_whole_whatever_pieces_it_comes_in() -> None:
    seen = relayed(pieces(b"a sm", "\u00e9".encode()[:1], "\u00e9".encode()[1:], b"ll line\nand ", b"another", b"\n"))

    assert seen.kept == ["a sm\u00e9ll line", "and another"]
    assert "\n".join(seen.shown) == "a sm\u00e9ll line\nand another"


@pytest.mark.slow
def test_what_comes_together_is_shown_together_and_kept_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "TOGETHER_S", 0.5)

    async def write(write_fd: int, seen: Seen) -> None:
        for number in range(5):
            os.write(write_fd, f"{number}\n".encode())
            await asyncio.sleep(0)
        while len(seen.kept) < 5:
            await asyncio.sleep(0)
        assert not seen.shown
        await asyncio.sleep(1)
        assert seen.shown == ["0\n1\n2\n3\n4"]

    assert len(relayed(write).shown) == 1


def test_the_last_words_of_a_process_are_shown_without_a_line_end() -> None:
    seen = relayed(pieces(b"first\nlast words"))

    assert "\n".join(seen.shown) == "first\nlast words"


@pytest.mark.slow
def test_a_line_over_the_limit_is_left_out_and_the_next_is_not() -> None:
    seen = relayed(pieces(b"before\n", b"x" * (2 * LINE_LIMIT_BYTES), b"xxx\nafter\n"))

    assert seen.kept == ["before", "after"]


def test_what_is_no_utf8_is_shown_all_the_same() -> None:
    assert relayed(pieces(b"\xff\xfe\n")).kept == ["\ufffd\ufffd"]
