"""The system calls that a sandbox's child may not make, as a filter in the kernel (seccomp(2)).

pyseccomp needs libseccomp on the machine and writes the same twenty lines of filter; its own are these. It is a list
of what is forbidden, because the libraries of jobs, and the C library below them, change what they call with each
release; what a later kernel adds is forbidden until somebody has looked at it (`_NEWEST`).

A thread can be started, a process cannot. clone3, whose flags a filter cannot read, is said not to exist: the C library
takes clone then.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from functions.sandbox.fork_server import libc


@dataclass(frozen=True)
class _Machine:
    """A processor's numbers: its mark (linux/audit.h), the call seccomp, and which column of `_CALLS` is its own."""

    audit_arch: int
    seccomp: int
    column: int


_MACHINES: Final = {"x86_64": _Machine(0xC000003E, 317, 0), "aarch64": _Machine(0xC00000B7, 277, 1)}

# name: its number on x86_64 (asm/unistd_64.h) and on aarch64 (asm-generic/unistd.h), None where there is no such call.
# fmt: off
_CALLS: Final[dict[str, tuple[int | None, int | None]]] = {
    # to reach others: the one socket of the job is open already
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242), "sendmsg": (46, 211), "sendmmsg": (307, 269),
    # to start a program or a process
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    # to look into another process, to signal it, to slow it down
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_send_signal": (424, 424), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "perf_event_open": (298, 241),
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "migrate_pages": (256, 238), "move_pages": (279, 239), "setpriority": (141, 140), "ioprio_set": (251, 30),
    "sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    # to change files that are not the job's, which Landlock does not cover; their times are left, which XlsxWriter sets
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "truncate": (76, 45),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "inotify_add_watch": (254, 27), "fanotify_mark": (301, 263),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    # memory that no limit counts, and that may stay
    "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
    "memfd_create": (319, 279), "memfd_secret": (447, 447),
    # ways around a filter, and parts of the kernel with a record
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "bpf": (321, 280), "userfaultfd": (323, 282), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "unshare": (272, 97), "setns": (308, 268),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442),
}
# fmt: on
# What has a condition on its first argument.
_CLONE, _KILL, _TGKILL, _PRLIMIT64 = (56, 220), (62, 129), (234, 131), (302, 261)
_CLONE3: Final = 435
_NEWEST: Final = 462  # mseal, of Linux 6.10; x86_64's second numbering, x32, lies above as well
_CLONE_THREAD: Final = 0x10000  # linux/sched.h

_SET_MODE_FILTER, _GET_ACTION_AVAILABLE = 1, 2  # linux/seccomp.h, and all below
# Without it kernels before 5.16 slow the process down against Spectre, which tells a job nothing but its own memory.
_FLAG_SPEC_ALLOW: Final = 4
_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NR, _ARCH, _ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; of the argument the lower half, on both processors
_LOAD, _IF_EQUAL, _IF_GREATER, _IF_BITS, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06  # linux/bpf_common.h


@cache
def is_offered() -> bool:
    """Whether this kernel takes filters, and the processor is one that we know."""
    machine = _machine()
    action = ctypes.byref(ctypes.c_uint32(_KILL_PROCESS))
    return machine is not None and libc().syscall(machine.seccomp, _GET_ACTION_AVAILABLE, 0, action) == 0


def restrict() -> None:
    """Put this thread, and those it starts, behind the filter. The process must have no new privileges before."""
    machine = _machine()
    if machine is None:
        raise OSError(errno.ENOSYS, f"no filter is known for {os.uname().machine}")
    program = filter_for(machine, os.getpid())
    kept = ctypes.create_string_buffer(program)
    pointed = struct.pack("@HP", len(program) // 8, ctypes.addressof(kept))  # struct sock_fprog
    if libc().syscall(machine.seccomp, _SET_MODE_FILTER, _FLAG_SPEC_ALLOW, pointed):
        raise OSError(ctypes.get_errno(), "seccomp failed")


def prepare() -> None:
    """Have the children to come find all of the filter but for what names their process."""
    if machine := _machine():
        _refusals(machine)


def filter_for(machine: _Machine, pid: int) -> bytes:
    """The filter of a process, as struct sock_filter: eight bytes each."""
    return _refusals(machine) + _packed(_conditions(machine, pid))


@cache
def _refusals(machine: _Machine) -> bytes:
    return _packed(_instructions(machine))


def _packed(instructions: Iterable["Instruction"]) -> bytes:
    return b"".join(struct.pack("=HBBI", *each) for each in instructions)


def _machine() -> _Machine | None:
    return _MACHINES.get(os.uname().machine)


Instruction = tuple[int, int, int, int]  # operation; instructions to leave out if so, and if not; operand


def _instructions(machine: _Machine) -> Iterator[Instruction]:
    yield _LOAD, 0, 0, _ARCH
    yield from _unless(_IF_EQUAL, machine.audit_arch, _KILL_PROCESS)
    yield _LOAD, 0, 0, _NR
    yield from _if(_IF_EQUAL, _CLONE3, _ERRNO | errno.ENOSYS)
    yield from _if(_IF_GREATER, _NEWEST, _ERRNO | errno.ENOSYS)
    for numbers in _CALLS.values():
        if (number := numbers[machine.column]) is not None:
            yield from _if(_IF_EQUAL, number, _ERRNO | errno.EPERM)


def _conditions(machine: _Machine, pid: int) -> Iterator[Instruction]:
    """Beyond the refusals; the number of the call is still loaded."""
    yield from _only(_CLONE[machine.column], _IF_BITS, _CLONE_THREAD)
    yield from _only(_KILL[machine.column], _IF_EQUAL, pid)
    yield from _only(_TGKILL[machine.column], _IF_EQUAL, pid)
    yield from _only(_PRLIMIT64[machine.column], _IF_EQUAL, 0)  # of itself
    yield _RETURN, 0, 0, _ALLOW


def _if(operation: int, operand: int, answer: int) -> tuple[Instruction, ...]:
    return (operation, 0, 1, operand), (_RETURN, 0, 0, answer)


def _unless(operation: int, operand: int, answer: int) -> tuple[Instruction, ...]:
    return (operation, 1, 0, operand), (_RETURN, 0, 0, answer)


def _only(number: int, operation: int, operand: int) -> Iterator[Instruction]:
    """This call with that argument, and no other."""
    yield _IF_EQUAL, 0, 4, number
    yield _LOAD, 0, 0, _ARGUMENT
    yield from _unless(operation, operand, _ERRNO | errno.EPERM)
    yield _RETURN, 0, 0, _ALLOW
