"""The filter, run here as the kernel runs it, for both processors."""

import errno
import struct

import pytest

from functions.sandbox import seccomp
from functions.sandbox.seccomp import _MACHINES, filter_for

PID = 4711
ALLOWED, ENDED = "allowed", "process ended"
CALLS = {
    "x86_64": {"read": 0, "openat": 257, "clone": 56, "kill": 62, "tgkill": 234, "prlimit64": 302, "landlock": 446},
    "aarch64": {"read": 63, "openat": 56, "clone": 220, "kill": 129, "tgkill": 131, "prlimit64": 261, "landlock": 446},
}
THREAD, PROCESS = 0x3D0F00, 0x1200011  # the flags of clone by which glibc starts a thread, and forks

machines = pytest.mark.parametrize("machine", CALLS)


def answer(machine: str, call: str | int, argument: int = 0, arch: int | None = None) -> str:
    """What the filter of process PID says to a call."""
    number = CALLS[machine][call] if isinstance(call, str) else call
    own = _MACHINES[machine].audit_arch
    data = struct.pack("=IIQQ", number, own if arch is None else arch, 0, argument)
    program = list(struct.iter_unpack("=HBBI", filter_for(_MACHINES[machine], PID)))
    at = accumulator = 0
    while True:
        operation, if_so, if_not, operand = program[at]
        at += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, operand)
            case 0x06:
                return verdict(operand)
            case _:
                holds = {0x15: accumulator == operand, 0x25: accumulator > operand, 0x45: accumulator & operand}
                at += if_so if holds[operation] else if_not


def verdict(value: int) -> str:
    return {0x7FFF0000: ALLOWED, 0x80000000: ENDED}.get(value) or errno.errorcode[value & 0xFFFF]


@machines
@pytest.mark.parametrize("call", ["read", "openat", "landlock"])
def test_what_libraries_do_is_allowed(machine: str, call: str) -> None:
    assert answer(machine, call) == ALLOWED


@machines
def test_every_call_of_the_list_is_refused(machine: str) -> None:
    column = _MACHINES[machine].column
    numbers = [each[column] for each in seccomp._CALLS.values() if each[column] is not None]

    assert {answer(machine, number) for number in numbers if number is not None} == {"EPERM"}


@machines
def test_a_thread_is_started_and_a_process_is_not(machine: str) -> None:
    assert answer(machine, "clone", THREAD) == ALLOWED
    assert answer(machine, "clone", PROCESS) == "EPERM"
    assert answer(machine, 435) == "ENOSYS"  # clone3


@machines
@pytest.mark.parametrize("call", ["kill", "tgkill"])
def test_a_process_signals_itself_and_no_other(machine: str, call: str) -> None:
    assert answer(machine, call, PID) == ALLOWED
    assert {answer(machine, call, other) for other in (0, 1, PID + 1, 2**32 - 1, 2**32 - PID)} == {"EPERM"}


@machines
def test_limits_are_its_own(machine: str) -> None:
    assert answer(machine, "prlimit64", 0) == ALLOWED
    assert answer(machine, "prlimit64", PID + 1) == "EPERM"


@machines
def test_calls_of_another_processor_end_the_process_and_newer_ones_do_not_exist(machine: str) -> None:
    i386 = 0x40000003

    assert answer(machine, "read", arch=i386) == ENDED
    assert {answer(machine, number) for number in (463, 0x40000000, 0xFFFFFFFF)} == {"ENOSYS"}
