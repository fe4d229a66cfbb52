"""Functions that are forked off the fork server are processes as on a cluster, and outlive it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.local_runner import ROOT, Up, children, event, service, trigger, until, up

pytestmark = pytest.mark.slow

FAILURE_LISTENER = """
import json, os, sys
from pathlib import Path
from functions.runtime.adapter import Response, http_function

def respond(event):
    seen = {
        "pid": os.getpid(), "parent": os.getppid(), "session": os.getsid(0), "folder": os.getcwd(),
        "environment": dict(os.environ), "at_start": Path("/proc/self/environ").read_bytes().decode(),
        "modules": sorted(sys.modules), "isolated": os.fstat(0).st_rdev == os.stat(os.devnull).st_rdev,
        "files": sorted(os.readlink(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")
                        if os.path.exists(f"/proc/self/fd/{each}")),
    }
    (half := Path(__file__).parent / f"{event.id}.half").write_text(json.dumps(seen))
    half.rename(half.with_suffix(".json"))  # who waits for it finds it whole
    return Response(202)

handle = http_function(respond)
"""

PATIENT = """
import threading, time
from pathlib import Path
from functions.runtime.adapter import Response, http_function

FOLDER = Path(__file__).parent

def work():
    (FOLDER / "begun").touch()
    time.sleep(1.5)
    (FOLDER / "done").touch()

def respond(event):
    threading.Thread(target=work).start()
    return Response(202)

handle = http_function(respond)
"""


def test_a_forked_function_has_what_its_manifest_says_and_nothing_of_the_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SHELL", "hunter2")
    with up(tmp_path, failure_listener(tmp_path), "--set", "failure_listener.GREETING=hello") as runner:
        seen = asked(runner, tmp_path, "1")

    assert seen["environment"]["GREETING"] == "hello"
    assert "hunter2" not in "".join([*seen["environment"].values(), seen["at_start"]])
    assert "GREETING" not in seen["at_start"]
    assert (seen["parent"], seen["session"], seen["folder"]) == (runner.process.pid, seen["pid"], str(tmp_path))
    assert seen["isolated"]
    assert not [each for each in seen["modules"] if each.startswith("knative")]
    assert not [each for each in seen["files"] if each.startswith(str(tmp_path))]


def test_functions_outlive_a_killed_fork_server_and_later_ones_start_afresh(tmp_path: Path) -> None:
    with up(tmp_path, (*failure_listener(tmp_path), *failure_listener(tmp_path, "second"))) as runner:
        before = asked(runner, tmp_path, "1")
        os.kill(fork_server(runner), signal.SIGKILL)
        until(lambda: "the fork server ended with -9" in runner.log.read_text(), what="the warning")
        after = asked(runner, tmp_path, "2")
        second = asked(runner, tmp_path, "3", "second")

    assert after["pid"] == before["pid"]
    assert shown(second["at_start"], "FUNCTION_TARGET=handle"), "forked, although there is no fork server"
    assert second["parent"] == runner.process.pid


@pytest.mark.parametrize("variable", ["PYTHONHASHSEED=7", "LONG=" + 40_000 * "é"], ids=["interpreter", "long"])
def test_a_function_is_started_afresh_when_its_environment_cannot_be_had_by_a_fork(
    tmp_path: Path, variable: str
) -> None:
    with up(tmp_path, failure_listener(tmp_path), "--set", f"failure_listener.{variable}") as runner:
        seen = asked(runner, tmp_path, "1")

    assert shown(seen["at_start"], variable)
    assert "the fork server ended" not in runner.log.read_text()


def test_a_forked_function_waits_for_its_threads_at_its_end(tmp_path: Path) -> None:
    (source := tmp_path / "patient.py").write_text(PATIENT)
    with up(tmp_path, (service("patient", source=source), trigger(subscriber="patient"))) as runner:
        runner.post(event("1"))
        until((tmp_path / "begun").exists, what="the thread")
        code = runner.stop()

    assert code == 0
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("end", [Up.kill, Up.stop], ids=["killed", "stopped"])
def test_nothing_outlives_a_runner_that_ends_while_functions_start(tmp_path: Path, end: Callable[[Up], object]) -> None:
    """At any moment of a start: the fork server forks twice, and the function tells the kernel whom to die with."""
    with up(tmp_path, failure_listener(tmp_path)) as runner:
        for number in range(5):
            runner.post(event(str(number), type="dev.errands.failure_listener.requested.v1"))
            until(lambda: len(children(runner.process.pid)) >= 3, poll_s=0.0005, what="a function")
            end(runner)

            until(lambda: not shown_with(runner.data), what="the end of all of them")
            runner.start()


KILLED = """
import os, signal
from pathlib import Path
from knative.local.process.forked import FunctionRequest, _fork_function
from knative.local.process.fork_server import is_dead

class Runner:
    'Kills the function when it is told of it, and is gone when it is told of the next.'
    told = 0

    def send(self, pid):
        self.told += 1
        if self.told == 2:
            raise BrokenPipeError
        os.kill(int(pid), signal.SIGKILL)
        while Path("/proc", pid.decode()).exists() and not is_dead(int(pid)):
            pass

    def close(self):
        pass

runner = Runner()
for _ in range(2):
    _fork_function(FunctionRequest("", "", {}, ""), os.dup(1), runner, {})
print(runner.told)
"""


def test_a_function_that_is_killed_before_it_begins_and_a_runner_that_is_gone_are_no_failures_of_the_fork_server() -> (
    None
):
    killed = [sys.executable, "-c", KILLED]
    done = subprocess.run(killed, check=False, capture_output=True, text=True, timeout=120, cwd=ROOT)

    assert (done.stdout, done.stderr) == ("2\n", "")


STARTS_TWICE = """
import asyncio, os
from pathlib import Path
from knative.local.process.fork_server import ForkServer

HERE = Path.cwd()
fork_server = ForkServer(HERE)

async def said():
    reading, writing = os.pipe()
    environment = {"FUNCTION_SOURCE": "says.py", "FUNCTION_TARGET": "handle"}
    child = await fork_server.start("says", environment, HERE, writing)
    os.close(writing)
    await child.wait()
    return os.read(reading, 10_000).decode()

async def main():
    print(await said(), end="")
    with open("functions/runtime/logs.py", "a") as file:
        file.write("VERSION = 2")
    print(await said(), end="")

asyncio.run(main())
"""
SAYS = """
import os
import functions.runtime.logs, events.types

same = functions.runtime.logs.READ_BY == os.getpid()
raise SystemExit(f"version {functions.runtime.logs.VERSION}, read by the function: {same}")
"""


def test_functions_share_our_own_files_until_one_of_them_is_changed(tmp_path: Path) -> None:
    for package in ("events", "functions", "knative"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    log = tmp_path / "functions/runtime/logs.py"
    log.write_text(f"{log.read_text()}\nimport os\nREAD_BY = os.getpid()\nVERSION = 1\n")
    os.utime(log, (1e9, 1e9))
    (tmp_path / "says.py").write_text(SAYS)

    started = [sys.executable, "-c", STARTS_TWICE]
    done = subprocess.run(started, check=False, capture_output=True, text=True, timeout=120, cwd=tmp_path)

    assert (done.stdout, done.stderr) == (
        "version 1, read by the function: False\nversion 2, read by the function: True\n",
        "",
    )


ADOPTS = """
import subprocess, sys, time
from pathlib import Path
from knative.local.process import forked
from knative.local.process.fork_server import is_dead, reap

pid, control = forked.start(Path("/"))  # which ends with the socket
orphan = int(subprocess.run(["sh", "-c", "sleep 0.1 >/dev/null & echo $!"], stdout=subprocess.PIPE).stdout)
child = subprocess.Popen(["sh", "-c", "exit 7"])
while not (is_dead(orphan) and is_dead(child.pid)):
    time.sleep(0.01)
first = reap(set())
code = child.wait()
second = reap(first)
print(first == {orphan, child.pid}, code, second, Path(f"/proc/{orphan}").exists())
"""


def test_orphans_are_reaped_and_children_that_somebody_waits_for_are_not() -> None:
    adopts = [sys.executable, "-c", ADOPTS]
    done = subprocess.run(adopts, check=False, capture_output=True, text=True, timeout=120, cwd=ROOT)

    assert done.stdout == "True 7 set() False\n", done.stderr


def failure_listener(tmp_path: Path, name: str = "failure_listener") -> tuple[str, str]:
    """A function that writes down what it sees of itself."""
    source = tmp_path / name / "main.py"
    source.parent.mkdir()
    source.write_text(FAILURE_LISTENER)
    wanted = f"{{type: dev.errands.{name}.requested.v1}}"
    return service(name, source=source), trigger(name, subscriber=name, filter=wanted)


def asked(runner: Up, tmp_path: Path, id_: str, name: str = "failure_listener") -> dict[str, Any]:
    """What it wrote down."""
    written = tmp_path / name / f"{id_}.json"
    runner.post(event(id_, type=f"dev.errands.{name}.requested.v1"))
    until(written.exists, what="what the function saw")
    seen: dict[str, Any] = json.loads(written.read_text())
    return seen


def fork_server(runner: Up) -> int:
    """The fork server's process."""
    return next(each for each in children(runner.process.pid) if title(each).startswith("errands fork server"))


def title(pid: int) -> str:
    """What ps shows of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().strip(b"\0").replace(b"\0", b" ").decode()


def shown(environment: str, variable: str) -> bool:
    """Whether a process was started with this variable, which a forked one shows none of."""
    return variable in environment.split("\0")


def shown_with(data: Path) -> list[int]:
    """The processes that ps shows with this data directory: a runner, its fork server, and what is forked there."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(data) in title(int(folder.name)):
                found.append(int(folder.name))
    return found
