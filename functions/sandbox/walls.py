"""The walls around a sandbox's child: what it may read, and that it may neither call, start nor reach anything else.

Two of the kernel's own, which no process gets out of again: Landlock for files, addresses and signals
(functions/sandbox/landlock.py), seccomp for the system calls (functions/sandbox/seccomp.py). What a child does not need
is refused to it with EPERM or EACCES; a job that tries fails, and nothing else does.
"""

import logging
import os
import site
import sys
from functools import cache
from typing import Final

from functions.sandbox import landlock, seccomp

log = logging.getLogger("errands.sandbox")

OFF, WANTED, REQUIRED = MODES = ("off", "wanted", "required")
# Shared libraries, fonts and what finds them, time zones, locales: found by watching what the jobs open (README.md).
SYSTEM: Final = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share", "/usr/local/share"),
    *("/etc/fonts", "/var/cache/fontconfig", "/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types"),
    *("/dev/urandom", "/dev/zero"),
)
_told: list[str] = []


class WallsMissing(RuntimeError):
    """This machine's kernel lacks a wall that a setting demands."""


def missing() -> tuple[str, ...]:
    """What this kernel does not offer, each with what it would do."""
    lacks = []
    if landlock.version() < 1:
        lacks.append("Landlock (Linux 5.13): a job reads every file that its function can read")
    if not seccomp.is_offered():
        lacks.append("seccomp filters: a job opens connections and starts processes")
    return tuple(lacks)


def check(mode: str) -> bool:
    """Whether children are to be walled; a missing wall is a warning, once, or WallsMissing where it is required."""
    if mode not in MODES:
        raise ValueError(f"SANDBOX_WALLS must be one of {', '.join(MODES)}, got {mode!r}")
    lacks = ("SANDBOX_WALLS=off",) if mode == OFF else missing()
    if lacks and mode == REQUIRED:
        raise WallsMissing(f"SANDBOX_WALLS=required, but this machine lacks {'; '.join(lacks)}")
    if lacks and not _told:
        _told.extend(lacks)
        log.warning("hostile jobs run without walls: %s", "; ".join(lacks), extra={"walls_missing": list(lacks)})
    return mode != OFF


def prepare() -> None:
    """Have the children to come find what their walls are made of."""
    readable()
    seccomp.prepare()


def close(directory: str) -> None:
    """Walls this process in with its directory; raises OSError when a wall that is there cannot be put up."""
    if landlock.version() >= 1:
        landlock.restrict(readable=readable(), writable=directory)
    if seccomp.is_offered():
        seccomp.restrict()


@cache
def readable() -> tuple[str, ...]:
    """Files and folders that a job's libraries read, those that are loaded later included; none is below another.

    A fork server looks once: it goes through all modules, and a child would write to the pages of each.
    """
    kept: list[str] = []
    for path in sorted({*SYSTEM, os.path.expanduser("~/.cache/fontconfig"), *_installed(), *_loaded()}):
        if os.path.exists(path) and not any(path.startswith(f"{above}/") for above in kept):
            kept.append(path)
    return tuple(kept)


def _installed() -> list[str]:
    """The folders of the standard library and of what is installed beside it."""
    prefixes = {sys.prefix, sys.base_prefix}
    roots = [each for each in sys.path if any(each.startswith(f"{prefix}/") for prefix in prefixes)]
    return [*roots, *site.getsitepackages()]


def _loaded() -> list[str]:
    """The folders of packages that lie elsewhere: ours, not what else is beside them, as a data folder may be."""
    packages = [module for name, module in list(sys.modules.items()) if "." not in name and hasattr(module, "__path__")]
    return [os.path.abspath(folder) for package in packages for folder in package.__path__]
