"""The peers' own Python environments: one folder each below `.bench/`, with stated versions, made once."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.local_runner import ROOT

FOLDER: Final = ROOT / ".bench"
# the callback's and the picture's libraries: the same for all
SHARED: Final = ("httpx==0.28.1", "urllib3==2.7.0", "standardwebhooks==1.1.0", "pillow==13.0.0")


@dataclass(frozen=True)
class Environment:
    """A virtual environment of `packages`, pinned."""

    name: str
    packages: tuple[str, ...]

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return FOLDER / self.name / "bin" / "python"

    @property
    def _ready(self) -> Path:
        return FOLDER / self.name / "ready"

    @property
    def made(self) -> bool:
        """Whether it is there with these versions."""
        return self._ready.exists() and self._ready.read_text().splitlines() == [*self.packages, *SHARED]

    def missing(self) -> str | None:
        """What to do to have it."""
        return None if self.made else f"`make bench PEERS=1` makes its environment, .bench/{self.name}"

    def make(self) -> None:
        """From PyPI, or wherever pip is configured to ask."""
        if self.made:
            return
        print(f"making {self.python.parent.parent} with {', '.join(self.packages)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER / self.name], check=True)
        command: list[str | Path] = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*command, *self.packages, *SHARED], check=True)
        self._ready.write_text("\n".join([*self.packages, *SHARED]))

    def versions(self) -> dict[str, str]:
        """What is pinned for it alone."""
        return dict(each.replace("[rabbitmq]", "").split("==") for each in self.packages)
