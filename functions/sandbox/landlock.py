"""Landlock, by which a process gives up files, TCP and signals for good (landlock(7)); no library has it for us."""

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from functools import cache
from typing import Final

from functions.sandbox.fork_server import libc

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # asm-generic/unistd.h
_CREATE_RULESET_VERSION, _RULE_PATH_BENEATH = 1, 1  # linux/landlock.h, and all below
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = (1 << bit for bit in range(6))
_MAKE_DIR, _MAKE_REG, _MAKE_SYM, _REFER, _TRUNCATE = 1 << 7, 1 << 8, 1 << 12, 1 << 13, 1 << 14
_NET: Final = 0b11  # to bind and to connect by TCP, since version 4
_SCOPES: Final = 0b11  # abstract Unix sockets and signals, since version 6
_READ: Final = _READ_FILE | _READ_DIR
_OWN: Final = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SYM | _REFER | _TRUNCATE
_OF_FILES: Final = _WRITE_FILE | _READ_FILE | _TRUNCATE
# how many of the rights to files, in their order, a version knows
_RIGHTS_BY_VERSION: Final = ((5, 16), (3, 15), (2, 14), (1, 13))


@cache
def version() -> int:
    """That of this kernel's; 0 where it has none, or where it is turned off."""
    found: int = libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION)
    return max(found, 0)


def restrict(*, readable: Iterable[str], writable: str) -> None:
    """Leave this thread, and those it starts, files below these paths and nothing else: no TCP, nobody to signal.

    It can run no program, and neither trace nor look into a process outside. Paths that do not exist are left out.
    """
    handled = (1 << next(rights for least, rights in _RIGHTS_BY_VERSION if version() >= least)) - 1
    size_bytes = 24 if version() >= 6 else 16 if version() >= 4 else 8
    rules = struct.pack("=3Q", handled, _NET, _SCOPES)[:size_bytes]
    ruleset = _call(_CREATE_RULESET, rules, ctypes.c_size_t(len(rules)), 0)
    try:
        for path in readable:
            _allow(ruleset, path, _READ & handled)
        _allow(ruleset, "/dev/null", _OF_FILES & handled)
        _allow(ruleset, writable, _OWN & handled)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        is_folder = stat.S_ISDIR(os.fstat(beneath).st_mode)
        rule = struct.pack("=Qi", rights if is_folder else rights & _OF_FILES, beneath)
        _call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(beneath)


def _call(number: int, *arguments: object) -> int:
    result: int = libc().syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"landlock: system call {number} failed")
    return result
