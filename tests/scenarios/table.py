"""`make scenarios`: runs each scenario with its real parts, and ends with a table of what came of it."""

import re
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
README: Final = HERE / "README.md"


@dataclass(frozen=True)
class Scenario:
    """What is run, the tool that is praised for it, and the files that say it here; the README where it is PHP."""

    name: str
    tool: str
    test: str
    ours: tuple[str, ...] = ()

    @property
    def here(self) -> list[str]:
        """Our version."""
        if not self.ours:
            return shown(f"php {self.name}")
        return [line for each in self.ours for line in (ROOT / each).read_text().splitlines()]


SCENARIOS: Final = (
    Scenario("sensors", "pika", "test_sensors.py", ("functions/telemetry/main.py", "functions/telemetry/readings.py")),
    Scenario("onboarding", "temporal", "test_onboarding.py", ("functions/flows/examples/onboarding.py",)),
    Scenario("upload", "celery", "test_upload.py"),
    Scenario("night", "prefect", "test_nightly.py", ("tests/scenarios/nightly.py",)),
)


def main() -> int:
    """The exit code: 0 where every scenario went as it should."""
    table = Table("scenario", "tests", "seconds", "lines here", "lines there", "", title="Scenarios")
    codes = [_run(each, table) for each in SCENARIOS]
    Console().print(table)
    return int(any(codes))


def _run(scenario: Scenario, table: Table) -> int:
    start_s = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", str(HERE / scenario.test)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    sys.stdout.write(done.stdout)
    said = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-200:]
    counted = " ".join(re.findall(r"[0-9]+ (?:passed|failed|skipped|errors?)", said))
    here, there = lines(scenario.here), lines(shown(f"python {scenario.tool}"))
    seconds = f"{time.monotonic() - start_s:.0f}"
    table.add_row(
        scenario.name, counted, seconds, str(here), f"{there} ({scenario.tool})", "" if done.returncode else "ok"
    )
    return done.returncode


def shown(name: str) -> list[str]:
    """The README's block of this name."""
    [found] = re.findall(rf"^```{name}\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    return str(found).splitlines()


def lines(code: Iterable[str]) -> int:
    """Those that are neither blank, nor a comment, nor an import."""
    return sum(bool(each.strip()) and not each.lstrip().startswith(("#", "import ", "from ", '"""')) for each in code)


if __name__ == "__main__":
    sys.exit(main())
