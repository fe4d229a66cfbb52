"""Who may be connected: as many as descriptors allow, and of one address no more than its share.

Who has a connection and asks for nothing on it gives way: idle connections, however many, keep nobody out.
"""

from collections.abc import Callable, Hashable
from typing import Final, Protocol

SHARE: Final = 4  # one address has at most a fourth of all places,
SHARE_LIMIT: Final = 512  # and no more than this: what each may have sent is in memory until it is answered


class Seat(Hashable, Protocol):
    """A connection, as it is known here."""

    def give_way(self) -> None:
        """Close it at once."""


class Places:
    """The connections by their addresses; those that are idle in the order in which they became so."""

    def __init__(self, limit: int, *, is_of_many: Callable[[str], bool] = lambda address: False) -> None:
        """`is_of_many` says of which addresses there is no share: this machine's, and those of trusted proxies."""
        self._limit = limit
        self._share = max(1, min(limit // SHARE, SHARE_LIMIT))
        self._is_of_many = is_of_many
        self._addresses: dict[Seat, str] = {}
        self._counts: dict[str, int] = {}
        self._idle: dict[str, dict[Seat, None]] = {}

    def enter(self, seat: Seat, address: str) -> bool:
        """Whether there is a place, or an idle connection that gives way."""
        of_address = self._counts.get(address, 0)
        if of_address >= self._share and not self._is_of_many(address) and not self._make_room(address):
            return False
        if len(self._addresses) >= self._limit and not self._make_room():
            return False
        self._addresses[seat] = address
        self._counts[address] = self._counts.get(address, 0) + 1
        self.rest(seat)
        return True

    def rest(self, seat: Seat) -> None:
        """Nothing is asked for on it at present."""
        if seat in self._addresses:
            self._idle.setdefault(self._addresses[seat], {})[seat] = None

    def work(self, seat: Seat) -> None:
        """A request has come on it."""
        address = self._addresses.get(seat, "")
        idle = self._idle.get(address, {})
        idle.pop(seat, None)
        if not idle:
            self._idle.pop(address, None)

    def leave(self, seat: Seat) -> None:
        """It is closed."""
        self.work(seat)
        address = self._addresses.pop(seat, None)
        if address is None:
            return
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]

    def _make_room(self, address: str | None = None) -> bool:
        """Close what has been idle longest: of an address, or of the one that has most of these."""
        idle = max(self._idle.values(), key=len, default={}) if address is None else self._idle.get(address, {})
        longest = next(iter(idle), None)
        if longest is None:
            return False
        self.leave(longest)
        longest.give_way()
        return True
