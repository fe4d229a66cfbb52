"""Says whether .ci/locks/ is fresh: what pyproject.toml asks for is pinned there, in a release that it allows, no more.

    python -m tests.locks

It reads the files alone, so that `make check` holds without a network; `make lock` mends what it finds.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[1]
DIRECT: Final = "errands (pyproject.toml)"
"""How uv notes who asked for a package."""

Extras = Mapping[str, Sequence[str]]


def main() -> None:
    """Print what is stale, and fail where something is."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {"": project["dependencies"], **project["optional-dependencies"]}
    functions = sorted(file.parent.name for file in ROOT.glob("functions/*/main.py"))
    found = [flaw for each in ("dev", "all", *functions) for flaw in flaws(each, extras, lock(each))]
    for gone in sorted({file.stem for file in (ROOT / ".ci" / "locks").glob("*.txt")} - {"dev", "all", *functions}):
        found.append(f".ci/locks/{gone}.txt: there is no function {gone}")
    if found:
        raise SystemExit("\n".join([*found, "run: make lock"]))


def lock(extra: str) -> str:
    """The text of one file; empty where there is none."""
    file = ROOT / ".ci" / "locks" / f"{extra}.txt"
    return file.read_text() if file.exists() else ""


def flaws(extra: str, extras: Extras, text: str) -> Iterator[str]:
    """What the file that is locked for an extra lacks, has too much of, or has in a release that is not allowed."""
    if not text:
        yield f".ci/locks/{extra}.txt: it is not there"
        return
    wanted: dict[str, Requirement] = {canonicalize_name(each.name): each for each in asked(extra, extras)}
    pinned = dict(pins(text))
    for name, requirement in wanted.items():
        if name not in pinned:
            yield f".ci/locks/{extra}.txt: {name} is not there"
        elif not requirement.specifier.contains(pinned[name], prereleases=True):
            yield f".ci/locks/{extra}.txt: {name} must be {requirement.specifier}, got {pinned[name]}"
    for name in sorted({name for name, _ in pins(text, of=DIRECT)} - wanted.keys()):
        yield f".ci/locks/{extra}.txt: nobody asks for {name}"
    if "://" in text:
        yield f".ci/locks/{extra}.txt: it names a host"


def asked(extra: str, extras: Extras) -> Iterator[Requirement]:
    """What the distribution needs with an extra, and with those that it names in turn (`errands[amqp]`)."""
    for line in (*extras[""], *extras.get(extra, ())):
        requirement = Requirement(line)
        if requirement.name != "errands":
            yield requirement
            continue
        for each in requirement.extras:
            yield from asked(each, extras)


def pins(text: str, *, of: str = "") -> Iterator[tuple[str, str]]:
    """Each package with its version; of those alone that were asked for by one."""
    for block in re.split(r"^(?=\w)", text, flags=re.MULTILINE):
        pin = re.match(r"([\w.-]+)(?:\[[^]]*\])?==([^\s;]+)", block)
        if pin and of in block:
            yield canonicalize_name(pin[1]), pin[2]


if __name__ == "__main__":
    main()
