"""How often something may be called, as a setting says it; functions/storage/rate_limits.py keeps to it."""

import re
from dataclasses import dataclass
from typing import Final

PERIODS_S: Final = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
AT_ONCE: Final = 10  # a tenth of a period's calls may come together


@dataclass(frozen=True)
class Rate:
    """So many calls in any period of so long."""

    calls: int
    period_s: float

    @classmethod
    def parse(cls, text: str, *, setting: str) -> "Rate":
        """From `30/m`: s, m, h or d; raise ValueError that names the setting."""
        found = re.fullmatch(r"([1-9][0-9]{0,8})/([smhd])", text.strip())
        if found is None:
            raise ValueError(
                f"{setting} must be a number of calls a second, minute, hour or day like 30/m, got {text!r}"
            )
        return cls(int(found[1]), PERIODS_S[found[2]])

    def __str__(self) -> str:
        return f"{self.calls}/{next(each for each, period_s in PERIODS_S.items() if period_s == self.period_s)}"

    @property
    def at_once(self) -> int:
        """How many calls may come together."""
        return max(1, self.calls // AT_ONCE)

    @property
    def interval_s(self) -> float:
        """Between two calls, so that with those that come together a period has no more than it may."""
        return self.period_s / (self.calls - self.at_once + 1)

    @property
    def tolerance_s(self) -> float:
        """By how much a call may come before its time."""
        return self.interval_s * (self.at_once - 1)
