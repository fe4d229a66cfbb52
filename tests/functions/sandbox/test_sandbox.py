import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from functions.sandbox.launch import start_early
from functions.sandbox.sandbox import Crashed, Handlers, LimitExceeded, Rejected, ResourceLimits, Sandbox
from tests.support.sandbox_work import Box

pytestmark = pytest.mark.slow

WORK = "tests.support.sandbox_work:"
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(("tests.support.sandbox_work",)) as shared:
        yield shared


def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    end_s = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < end_s, "the condition did not come true"
        pause.wait(0.005)


class Gate:
    """Tells when work has begun to wait, and lets it go on."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        self.handlers = Handlers(on_question=self._pass)

    def _pass(self, _question: bytes) -> bytes:
        self.reached.set()
        assert self.opened.wait(30), "nobody opened the gate"
        return b""


def waited(sandbox: Sandbox, gate: Gate) -> str:
    return sandbox.run(WORK + "wait", None, result=str, handlers=gate.handlers)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def waiting_child(sandbox: Sandbox) -> int:
    """The one of the next job, when those of earlier ones have ended."""
    until(lambda: len(children_of(sandbox.pid or 0)) == 1)
    return children_of(sandbox.pid or 0)[0]


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def test_a_struct_goes_in_and_a_struct_comes_back(sandbox: Sandbox) -> None:
    response = sandbox.run(WORK + "double", Box(21), result=Box)

    assert response == Box(42)


def test_its_process_finds_our_code_where_that_is_not_installed() -> None:
    program = f"""
import os, sys
sys.executable = os.path.realpath(sys.executable)  # the one without .venv, as an image's is without our distribution
from functions.sandbox.sandbox import Sandbox
from tests.support.sandbox_work import Box
with Sandbox(()) as sandbox:
    print(sandbox.run({WORK + "double"!r}, Box(21), result=Box).width_px)"""
    environment = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert done.stdout.strip() == "42", done.stderr


def test_thirty_megabytes_go_in_and_come_back(sandbox: Sandbox) -> None:
    content = os.urandom(30 << 20)

    response = sandbox.run(WORK + "double", Box(1, content), result=Box)

    assert response.content == content


def test_an_argument_that_no_memory_is_left_for_is_a_memory_limit_and_not_a_hang(sandbox: Sandbox) -> None:
    with pytest.raises(LimitExceeded) as raised:
        sandbox.run(WORK + "echo", bytes(30 << 20), result=bytes, limits=ResourceLimits(memory_bytes=8 << 20))

    assert raised.value.limit == "memory"


def test_attachments_follow_the_argument_as_open_files(sandbox: Sandbox) -> None:
    assert (
        sandbox.run(WORK + "joined", "a", b"b" * 3_000_000, b"", b"c", result=bytes) == b"a" + b"b" * 3_000_000 + b"c"
    )


def test_a_killed_waiting_child_is_replaced(sandbox: Sandbox) -> None:
    sandbox.run(WORK + "nothing", None, result=type(None))
    waiting = waiting_child(sandbox)
    os.kill(waiting, signal.SIGKILL)
    until(lambda: not is_alive(waiting))

    assert sandbox.run(WORK + "echo", 7, result=int) == 7


def test_bad_input_arrives_as_a_rejection_with_its_message(sandbox: Sandbox) -> None:
    with pytest.raises(Rejected, match=r"^width_px must be 1 to 16384, got 0$"):
        sandbox.run(WORK + "reject", None, result=int)


def test_a_bug_arrives_as_a_crash_with_the_traceback_as_failure_report(sandbox: Sandbox) -> None:
    with pytest.raises(Crashed) as raised:
        sandbox.run(WORK + "fail", None, result=int)

    assert 'raise KeyError("a bug")' in raised.value.failure_report


def test_unknown_work_is_a_crash_that_names_it(sandbox: Sandbox) -> None:
    with pytest.raises(Crashed, match="no_such_work"):
        sandbox.run(WORK + "no_such_work", None, result=int)


def test_a_result_of_another_type_is_a_crash(sandbox: Sandbox) -> None:
    with pytest.raises(Crashed, match="must answer Box"):
        sandbox.run(WORK + "echo", [1, 2], result=Box)


def test_the_deadline_ends_the_work_and_tells_how_far_it_came(sandbox: Sandbox) -> None:
    with pytest.raises(LimitExceeded, match=r"^exceeded 0.2 s after page 212$") as raised:
        sandbox.run(WORK + "loop", "page 212", result=str, limits=ResourceLimits(timeout_s=0.2))

    assert (raised.value.limit, raised.value.progress) == ("time", "page 212")


@pytest.mark.parametrize("work", ["loop", "loop_deaf"])
def test_the_processor_limit_ends_the_work_even_when_it_ignores_the_signal(sandbox: Sandbox, work: str) -> None:
    argument = "" if work == "loop" else None
    with pytest.raises(LimitExceeded, match=r"^exceeded 1 s of processor time$") as raised:
        sandbox.run(WORK + work, argument, result=str, limits=ResourceLimits(cpu_s=1))

    assert raised.value.limit == "cpu"


def test_the_memory_limit_ends_the_work(sandbox: Sandbox) -> None:
    with pytest.raises(LimitExceeded, match=r"^exceeded 1048576 bytes of memory$") as raised:
        sandbox.run(WORK + "eat_memory", None, result=int, limits=ResourceLimits(memory_bytes=1 << 20))

    assert raised.value.limit == "memory"


def test_work_that_spins_for_want_of_memory_is_ended_long_before_its_deadline(sandbox: Sandbox) -> None:
    limits = ResourceLimits(memory_bytes=256 << 20, timeout_s=30.0, cpu_s=30)

    with pytest.raises(LimitExceeded, match=r"^exceeded 268435456 bytes of memory$"):
        sandbox.run(WORK + "spin_out_of_memory", None, result=str, limits=limits)


def test_work_that_has_no_memory_to_tell_its_failure_is_a_memory_limit(sandbox: Sandbox) -> None:
    with pytest.raises(LimitExceeded, match=r"^exceeded 1073741824 bytes of memory$"):
        sandbox.run(WORK + "fail_out_of_memory", None, result=str)


def killed_at_once(sandbox: Sandbox, times: int) -> Handlers:
    """What kills a job at its first word, as the kernel does that is out of memory; so many times.

    Its process is the oldest that lives: one is kept ready behind it, and those that have died may be there still.
    """
    victims: list[int] = []

    def kill(progress: str) -> None:
        if progress == "the first page" and len(victims) < times:
            children = children_of(sandbox.pid or 0)
            victims.append(next(each for each in children if each not in victims and is_alive(each)))
            os.kill(victims[-1], signal.SIGKILL)

    return Handlers(on_progress=kill, on_question=lambda _: b"")


def test_a_job_that_is_killed_from_outside_has_one_more_attempt_since_it_need_not_be_its_own_memory(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    assert sandbox.run(WORK + "wait", None, result=str, handlers=killed_at_once(sandbox, 1)) == "done"
    assert "wait is done once more: exceeded the memory of this machine or container" in caplog.text


def test_a_second_kill_from_outside_counts_as_memory_since_the_kernel_does_it(sandbox: Sandbox) -> None:
    with pytest.raises(LimitExceeded, match="the memory of this machine or container") as raised:
        sandbox.run(WORK + "wait", None, result=str, handlers=killed_at_once(sandbox, 2))

    assert raised.value.limit == "memory"


def test_the_handlers_are_told_of_the_second_attempt(sandbox: Sandbox) -> None:
    restarts: list[str] = []
    handlers = replace(killed_at_once(sandbox, 1), on_restart=lambda: restarts.append("again"))

    sandbox.run(WORK + "wait", None, result=str, handlers=handlers)

    assert restarts == ["again"]


def test_closing_ends_a_job_in_flight_without_another_attempt() -> None:
    gate = Gate()
    with Sandbox() as sandbox, ThreadPoolExecutor() as threads:
        job = threads.submit(waited, sandbox, gate)
        gate.reached.wait(10)
        sandbox.close()
        gate.opened.set()

        with pytest.raises(Crashed, match="fork server of the sandbox died"):
            job.result()
        assert sandbox.pid is None


def test_the_output_limit_ends_the_work_at_the_header_of_the_result(sandbox: Sandbox) -> None:
    with pytest.raises(LimitExceeded) as raised:
        sandbox.run(WORK + "response", 2 << 20, result=bytes, limits=ResourceLimits(result_limit_bytes=1 << 20))

    assert raised.value.limit == "output"
    assert is_alive(waiting_child(sandbox))  # and no other


def test_a_file_over_the_limit_ends_the_work(sandbox: Sandbox) -> None:
    with pytest.raises(LimitExceeded) as raised:
        sandbox.run(WORK + "fill_file", None, result=type(None), limits=ResourceLimits(file_bytes=1 << 16))

    assert raised.value.limit == "output"


@pytest.mark.parametrize(("work", "size_bytes"), [("fill_folder", 1 << 12), ("fill_folder", 0), ("dig", None)])
def test_files_that_are_too_many_or_too_large_together_end_the_work(
    sandbox: Sandbox, work: str, size_bytes: int | None
) -> None:
    limits = ResourceLimits(folder_bytes=1 << 24)
    with pytest.raises(LimitExceeded, match="in its folder after file") as raised:
        sandbox.run(WORK + work, size_bytes, result=type(None), limits=limits)

    assert raised.value.limit == "output"


def test_work_that_writes_no_files_can_write_none(sandbox: Sandbox) -> None:
    with pytest.raises(LimitExceeded) as raised:
        sandbox.run(WORK + "fill_file", None, result=type(None), limits=ResourceLimits(file_bytes=0))

    assert raised.value.limit == "output"


def test_a_segmentation_fault_is_a_crash_that_names_the_signal(sandbox: Sandbox) -> None:
    with pytest.raises(Crashed, match="SIGSEGV without a result after the header") as raised:
        sandbox.run(WORK + "segfault", None, result=int)

    assert raised.value.code == -signal.SIGSEGV


@pytest.mark.parametrize("code", [0, 3])
def test_an_exit_without_a_result_is_a_crash(sandbox: Sandbox, code: int) -> None:
    with pytest.raises(Crashed, match=f"exit code {code} without a result"):
        sandbox.run(WORK + "leave", code, result=int)


def test_rubbish_written_to_every_descriptor_ends_that_job_only(sandbox: Sandbox) -> None:
    server = sandbox.pid

    with pytest.raises((Crashed, LimitExceeded)):
        sandbox.run(WORK + "forge", None, result=int)

    assert sandbox.run(WORK + "echo", 1, result=int) == 1
    assert sandbox.pid == server


def test_a_child_holds_one_socket_and_no_other_jobs(sandbox: Sandbox) -> None:
    gate = Gate()
    with ThreadPoolExecutor() as threads:
        other = threads.submit(waited, sandbox, gate)
        gate.reached.wait(10)
        count = sandbox.run(WORK + "open_sockets", None, result=int)
        gate.opened.set()
        other.result()

    assert count == 1


def test_jobs_of_several_threads_run_at_once(sandbox: Sandbox) -> None:
    gates = [Gate() for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        jobs = [threads.submit(waited, sandbox, gate) for gate in gates]
        assert all(gate.reached.wait(10) for gate in gates)
        for gate in gates:
            gate.opened.set()

        assert [job.result() for job in jobs] == ["done"] * 8


def test_two_hundred_jobs_from_eight_threads_each_get_their_own_response(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(8) as threads:
        responses = threads.map(lambda number: sandbox.run(WORK + "echo", number, result=int), range(200))

        assert list(responses) == list(range(200))


def test_the_child_sees_none_of_the_secrets_and_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBACK_SECRET", "whsec_secret")
    with Sandbox(env={"FONTCONFIG_FILE": "/etc/fonts/fonts.conf"}) as sandbox:
        environment = sandbox.run(WORK + "environment", None, result=dict[str, str])

    assert "whsec_secret" not in str(environment)
    assert environment["FONTCONFIG_FILE"] == "/etc/fonts/fonts.conf"


def test_the_child_works_in_a_directory_of_its_own_that_is_gone_afterwards(sandbox: Sandbox) -> None:
    pid, directory = sandbox.run(WORK + "place", None, result=tuple[int, str])

    assert pid != os.getpid()
    assert not Path(directory).exists()


def test_a_process_that_left_the_group_dies_with_its_job_where_no_wall_keeps_it_from_being_started() -> None:
    with Sandbox(("tests.support.sandbox_work",), walls="off") as sandbox:
        stray = sandbox.run(WORK + "leave_a_stray", None, result=int)

        until(lambda: not is_alive(stray))


def test_a_job_whose_fork_server_is_killed_has_one_more_attempt_by_a_new_one() -> None:
    gate = Gate()
    with Sandbox() as sandbox, ThreadPoolExecutor() as threads:
        job = threads.submit(waited, sandbox, gate)
        gate.reached.wait(10)
        first = sandbox.pid or 0
        child = children_of(first)[0]
        os.kill(first, signal.SIGKILL)
        until(lambda: not is_alive(child))
        gate.opened.set()

        assert job.result() == "done"
        assert sandbox.pid != first


def test_a_second_kill_of_the_fork_server_fails_the_job_in_flight_and_it_is_started_anew() -> None:
    with Sandbox() as sandbox:

        def kill(_progress: str) -> None:
            os.kill(sandbox.pid or 0, signal.SIGKILL)

        with pytest.raises(Crashed, match="fork server of the sandbox died"):
            sandbox.run(WORK + "loop", "page 1", result=str, handlers=Handlers(on_progress=kill))
        assert sandbox.run(WORK + "echo", 7, result=int) == 7


def test_a_fork_server_that_cannot_load_its_libraries_is_a_crash_and_not_a_hang() -> None:
    with Sandbox(("no_such_library",)) as sandbox, pytest.raises(Crashed, match="fork server"):
        sandbox.run(WORK + "echo", 1, result=int)


def test_nothing_is_started_before_the_first_job_and_nothing_is_left_after_close() -> None:
    sandbox = Sandbox()
    assert sandbox.pid is None

    sandbox.run(WORK + "nothing", None, result=type(None))
    pid = sandbox.pid or 0
    waiting = waiting_child(sandbox)
    sandbox.close()

    assert not is_alive(pid)
    until(lambda: not is_alive(waiting))


PARENT = """
import pathlib, signal, sys, threading, time
from functions.sandbox.sandbox import Handlers, Sandbox
path = sys.argv[1]
def pass_on(question):
    pathlib.Path(path + ".started").touch()
    while not pathlib.Path(path).exists():
        time.sleep(0.005)
    return b""
def job():
    response = sandbox.run(
        "tests.support.sandbox_work:wait", None, result=str, handlers=Handlers(on_question=pass_on)
    )
    pathlib.Path(path + ".response").write_text(response)
signal.signal(signal.SIGTERM, lambda *_: pathlib.Path(path + ".term").touch())
sandbox = Sandbox()
thread = threading.Thread(target=job)
thread.start()
thread.join()
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with a job in flight, in a group of its own."""
    command = [sys.executable, "-c", PARENT, str(tmp_path / "go")]
    with subprocess.Popen(command, env={"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}, process_group=0) as process:
        until((tmp_path / "go.started").exists)
        yield process
        process.kill()


def test_fork_server_and_child_die_with_a_parent_that_is_killed(parent: subprocess.Popen[bytes]) -> None:
    server = children_of(parent.pid)[0]
    child = children_of(server)[0]

    parent.kill()

    until(lambda: not is_alive(server) and not is_alive(child))


def test_a_sigterm_to_the_group_of_the_parent_leaves_the_job_alone(
    parent: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    os.killpg(parent.pid, signal.SIGTERM)
    until((tmp_path / "go.term").exists)
    (tmp_path / "go").touch()

    until((tmp_path / "go.response").exists)
    parent.wait(60)
    assert (tmp_path / "go.response").read_text() == "done"


def test_work_asks_this_process_and_gets_its_response(sandbox: Sandbox) -> None:
    big = b"x" * (1 << 20)

    response = sandbox.run(
        WORK + "ask_twice", b"what", result=bytes, handlers=Handlers(on_question=lambda question: question + big)
    )

    assert response == (b"what" + big) * 2


def test_an_answer_that_no_memory_is_left_for_is_a_memory_limit(sandbox: Sandbox) -> None:
    big = Handlers(on_question=lambda _: bytes(30 << 20))

    with pytest.raises(LimitExceeded, match="bytes of memory"):
        sandbox.run(
            WORK + "ask_twice", b"what", result=bytes, handlers=big, limits=ResourceLimits(memory_bytes=8 << 20)
        )


def test_an_empty_answer_loses_no_result(sandbox: Sandbox) -> None:
    empty = Handlers(on_question=lambda _: b"")
    with ThreadPoolExecutor(8) as threads:
        done = threads.map(lambda _: sandbox.run(WORK + "wait", None, result=str, handlers=empty), range(100))

        assert list(done) == ["done"] * 100


def test_a_response_that_raises_ends_the_work_and_raises_here(sandbox: Sandbox) -> None:
    def refuse(question: bytes) -> bytes:
        raise FileNotFoundError(question.decode())

    with pytest.raises(FileNotFoundError, match="what"):
        sandbox.run(WORK + "ask_twice", b"what", result=bytes, handlers=Handlers(on_question=refuse))

    server = sandbox.pid
    assert server is not None
    until(lambda: len(children_of(server)) == 1)  # the one that waits for the next job


def test_work_that_asks_where_nobody_answers_crashes(sandbox: Sandbox) -> None:
    with pytest.raises(Crashed, match="asked what it may not: b'what'"):
        sandbox.run(WORK + "ask_twice", b"what", result=bytes)


def test_progress_is_heard_while_the_work_goes_on(sandbox: Sandbox) -> None:
    heard: list[str] = []

    with pytest.raises(LimitExceeded):
        sandbox.run(
            WORK + "loop",
            "marker",
            result=str,
            limits=ResourceLimits(timeout_s=1),
            handlers=Handlers(on_progress=heard.append),
        )

    assert heard


def test_a_fork_server_started_early_serves_this_process_and_a_fork_of_it() -> None:
    start_early(("tests.support.sandbox_work", "json"))

    child = os.fork()
    if not child:  # as a server's worker, which inherits what its master started
        with Sandbox(("tests.support.sandbox_work", "json")) as inherited:
            os._exit(inherited.run(WORK + "double", Box(21), result=Box).width_px)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42


def test_a_fork_server_started_early_is_replaced_when_it_has_died() -> None:
    start_early(("tests.support.sandbox_work", "csv"))

    with Sandbox(("tests.support.sandbox_work", "csv")) as sandbox:
        assert sandbox.run(WORK + "double", Box(1), result=Box) == Box(2)
        first = sandbox.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: not is_alive(first))
        assert sandbox.run(WORK + "double", Box(2), result=Box) == Box(4)
        assert sandbox.pid != first


def test_the_first_job_waits_for_no_chores_and_later_ones_have_them_done_but_for_one_that_failed() -> None:
    with Sandbox(("tests.support.sandbox_chores",)) as sandbox:

        def known() -> list[str]:
            return sandbox.run("tests.support.sandbox_chores:known", None, result=list[str])

        assert known() == []
        until(lambda: known() == ["first", "last"])
        assert len(children_of(sandbox.pid or 0)) <= 2
