"""kubectl, as far as this package asks it; whatever asks takes a `Kubectl`, so that a recorded one will do."""

import shutil
import subprocess
from dataclasses import dataclass
from typing import Final, Protocol

TIMEOUT_S: Final = 30.0
MISSING: Final = "kubectl is not installed: see kubernetes.io/docs/tasks/tools"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What kubectl said."""

    output: str
    error: str = ""
    code: int = 0

    @property
    def well(self) -> bool:
        """Whether it did what it was asked for."""
        return self.code == 0


class Kubectl(Protocol):
    """Runs kubectl with these arguments, and `given` on its standard input."""

    def __call__(self, *arguments: str, given: str = "", timeout_s: float = TIMEOUT_S) -> Answer: ...


def kubectl(*arguments: str, given: str = "", timeout_s: float = TIMEOUT_S) -> Answer:
    """The installed one, on the cluster of its current context; what takes longer has failed."""
    program = shutil.which("kubectl")
    if program is None:
        return Answer(output="", error=MISSING, code=127)
    try:
        done = subprocess.run(
            [program, *arguments], input=given, capture_output=True, check=False, text=True, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        return Answer(output="", error=f"kubectl {arguments[0]} did not end within {timeout_s:g} s", code=124)
    return Answer(output=done.stdout, error=done.stderr, code=done.returncode)
