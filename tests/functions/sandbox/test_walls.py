"""What a job tries that was taken over by what it reads; nothing that it needs is refused to it."""

import errno
import logging
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from functions.sandbox import landlock, seccomp, walls
from functions.sandbox.fork_server import prctl
from functions.sandbox.sandbox import Crashed, Sandbox
from functions.sandbox.walls import WallsMissing

WORK = "tests.support.sandbox_work:"
REFUSED = r"Permission denied|not permitted"


@pytest.fixture(scope="module", autouse=True)
def _kernel() -> None:
    if walls.missing() and "CI" not in os.environ:
        pytest.skip(f"this kernel lacks {walls.missing()}")
    assert not walls.missing()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(("tests.support.sandbox_work",), walls="required") as shared:
        yield shared


@pytest.fixture
def secret(tmp_path: Path) -> str:
    (file := tmp_path / "secrets").write_text("whsec_secret")
    return str(file)


def refused(sandbox: Sandbox, work: str, argument: object = None) -> None:
    with pytest.raises(Crashed, match=REFUSED) as raised:
        sandbox.run(WORK + work, argument, result=object)
    assert raised.value.code is None  # refused, and not ended for it


@pytest.mark.parametrize("path", ["/etc/shadow", "/etc/passwd", "/proc/self/environ", "/proc/1/cmdline", "/dev/full"])
def test_a_job_reads_no_file_of_the_machine(sandbox: Sandbox, path: str) -> None:
    refused(sandbox, "read", path)


@pytest.mark.parametrize("work", ["read", "link", "write", "cut", "change_rights"])
def test_a_job_neither_reads_nor_changes_a_file_of_the_data_folder(sandbox: Sandbox, secret: str, work: str) -> None:
    refused(sandbox, work, secret)
    assert Path(secret).read_text() == "whsec_secret"


@pytest.mark.parametrize("path", ["/", "/etc", "/tmp"])  # noqa: S108
def test_a_job_lists_no_folder_but_its_own(sandbox: Sandbox, path: str) -> None:
    refused(sandbox, "list_folder", path)


def test_a_job_reads_no_file_beside_our_packages(sandbox: Sandbox) -> None:
    refused(sandbox, "read", str(Path(__file__).parents[3] / "pyproject.toml"))


@pytest.mark.parametrize("work", ["read", "list_folder"])
def test_a_job_does_not_see_the_environment_of_its_parent(sandbox: Sandbox, work: str) -> None:
    refused(sandbox, work, f"/proc/{os.getpid()}/{'environ' if work == 'read' else 'fd'}")


@pytest.mark.parametrize("work", ["signal_other", "limit_other", "trace"])
def test_a_job_reaches_no_other_process(sandbox: Sandbox, work: str) -> None:
    refused(sandbox, work, os.getpid())


def test_a_job_connects_nowhere(sandbox: Sandbox, tmp_path: Path) -> None:
    path = str(tmp_path / "listening")
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as tcp,
        closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as udp,
        closing(socket.socket(socket.AF_UNIX)) as unix,
    ):
        udp.bind(("127.0.0.1", 0))
        unix.bind(path)
        unix.listen()

        refused(sandbox, "connect_tcp", tcp.getsockname()[1])
        refused(sandbox, "send_udp", udp.getsockname()[1])
        refused(sandbox, "connect_unix", path)
        refused(sandbox, "make_pair")


@pytest.mark.parametrize("work", ["execute", "fork", "spawn"])
def test_a_job_starts_neither_a_program_nor_a_process(sandbox: Sandbox, work: str) -> None:
    refused(sandbox, work)


@pytest.mark.parametrize("work", ["make_ring", "make_memory_file"])
def test_a_job_has_no_way_around_its_walls_and_limits(sandbox: Sandbox, work: str) -> None:
    refused(sandbox, work)


@pytest.mark.parametrize("number", [463, 500, 0x40000000 + 41])
def test_what_a_later_kernel_adds_is_said_not_to_exist(sandbox: Sandbox, number: int) -> None:
    with pytest.raises(Crashed, match=os.strerror(errno.ENOSYS)):
        sandbox.run(WORK + "call_what_is_newer", number, result=object)


def test_a_job_may_end_itself_by_a_signal(sandbox: Sandbox) -> None:
    with pytest.raises(Crashed, match="SIGABRT"):
        sandbox.run(WORK + "signal_itself", None, result=object)


def test_threads_and_the_folder_of_its_own_go_on_working(sandbox: Sandbox) -> None:
    assert sandbox.run(WORK + "work_in_threads", 20, result=int) == 20
    assert sandbox.run(WORK + "work_in_folder", None, result=bytes) == b"kept"


def test_a_job_has_a_bound_of_threads_and_cannot_be_looked_into(sandbox: Sandbox) -> None:
    tasks, dumpable = sandbox.run(WORK + "limits_and_state", None, result=tuple[int, int])

    assert 0 < tasks < 100_000
    assert dumpable == 0


def test_a_job_holds_its_own_files_and_no_other(sandbox: Sandbox) -> None:
    assert len(sandbox.run(WORK + "open_files", None, result=list[int])) == 4  # standard ones, and one socket


def test_landlock_holds_without_the_filter(tmp_path: Path, secret: str) -> None:
    """In a thread, whose end ends its walls: the filter would hide a hole."""
    seen: dict[str, str] = {}

    def attempt(name: str, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            seen[name] = type(error).__name__

    def within_landlock() -> None:
        prctl(38, 1)  # PR_SET_NO_NEW_PRIVS, of this thread
        landlock.restrict(readable=[], writable=str(tmp_path / "own"))
        attempt("read", Path(secret).read_text)
        attempt("connect", lambda: socket.create_connection(("127.0.0.1", 9)))

    thread = threading.Thread(target=within_landlock)
    thread.start()
    thread.join()

    assert seen == {"read": "PermissionError", "connect": "PermissionError"}


HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


@pytest.mark.parametrize("machine", HEADERS)
def test_the_numbers_of_the_calls_are_those_of_the_kernels_headers(machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip("linux-libc-dev is not installed")
    defined = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", HEADERS[machine].read_text()))
    column = seccomp._MACHINES[machine].column
    known = {name: numbers[column] for name, numbers in seccomp._CALLS.items() if name in defined}

    assert len(known) > 60
    assert known == {name: int(defined[name]) for name in known}


def test_a_wall_that_the_kernel_lacks_is_warned_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(landlock, "version", lambda: 0)
    monkeypatch.setattr(walls, "_told", [])

    with caplog.at_level(logging.WARNING):
        Sandbox()
        Sandbox()

    assert [record.getMessage() for record in caplog.records] == [
        "hostile jobs run without walls: Landlock (Linux 5.13): a job reads every file that its function can read"
    ]
    assert caplog.records[0].walls_missing  # type: ignore[attr-defined]  # in the JSON line


def test_a_wall_that_is_required_and_missing_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "is_offered", lambda: False)

    with pytest.raises(WallsMissing, match="SANDBOX_WALLS=required, but this machine lacks seccomp"):
        Sandbox(walls="required")


def test_a_setting_that_is_no_such_word_is_refused() -> None:
    with pytest.raises(ValueError, match="SANDBOX_WALLS must be one of off, wanted, required, got 'on'"):
        Sandbox(walls="on")


def test_an_unknown_processor_has_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "_machine", lambda: None)
    seccomp.is_offered.cache_clear()
    try:
        assert not seccomp.is_offered()
    finally:
        seccomp.is_offered.cache_clear()
