"""The image function against a bare loop of Pillow and against libvips: the same source, the same outputs, one run.

python -m tests.bench.image [ROUNDS]

Each contender is a process of its own, warm, and takes its turn in every round; a figure is the median of the rounds'
ratios, so that what else the machine does falls on all of them. The function is the real one, served over HTTP with
its ledger and its store: fetching the source, the fork, the limits, hashing and storing are in its time. The bare loop
decodes once with shrink-on-load (`draft`) and resizes to the exact box with `reducing_gap=2.0`, the quality of Pillow's
own `thumbnail` and of libvips; `gap 1.1` is the same with less quality. Both have the block allocator of Pillow.
"""

import importlib
import importlib.util
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path
from typing import IO, Any, cast

import httpx

from events.http import STRUCTURED
from tests.support.local_runner import ROOT, until
from tests.support.ports import free_port

ROUNDS = 15
SOURCE_PX = (4096, 3072)
Wanted = list[tuple[str, int]]  # format and width; the quality is 80, the AVIF's speed 8
JOBS: dict[str, Wanted] = {
    "1600 px JPEG": [("jpeg", 1600)],
    "800 px JPEG": [("jpeg", 800)],
    "200 px JPEG": [("jpeg", 200)],
    "1600, 800 and 200 px JPEG": [("jpeg", 1600), ("jpeg", 800), ("jpeg", 200)],
    "800 px AVIF": [("avif", 800)],
}
Contender = Callable[[Wanted], object]


def main() -> None:
    """Rounds, then the table."""
    if len(sys.argv) > 2:
        serve(*sys.argv[1:3])
        return
    from tests.bench.peers.work import photo  # with Pillow, which a contender of another library does without

    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        uploaded = folder / "uploads" / "photo.jpg"
        uploaded.parent.mkdir()
        uploaded.write_bytes(photo(SOURCE_PX))
        contenders = {name: stack.enter_context(worker(name, folder)) for name in installed()}
        contenders["function"] = stack.enter_context(function(folder))
        # before the workers end: the largest child of any kind counts from then on
        peak = peak_bytes(folder)
        times_s: dict[tuple[str, str], list[float]] = {(name, job): [] for name in contenders for job in JOBS}
        for number in range(rounds + 1):
            for job, wanted in JOBS.items():
                for name, work in contenders.items():
                    elapsed_s = timed(work, wanted)
                    if number:  # the first round warms up
                        times_s[name, job].append(elapsed_s)
        show(times_s)
        print(f"peak memory: a child {peak / 1e6:.0f} MB, the function {largest_bytes(folder) / 1e6:.0f} MB")


def timed(work: Contender, wanted: Wanted) -> float:
    started_s = time.perf_counter()
    work(wanted)
    return time.perf_counter() - started_s


def show(times_s: dict[tuple[str, str], list[float]]) -> None:
    """Ratios of images per second (over 1: the function is faster), and of time for three against one."""
    names = [name for name in dict.fromkeys(name for name, _ in times_s) if name != "function"]
    print("images per second of the function, against" + "".join(f"{name:>16}" for name in names) + "   (function)")
    for job in JOBS:
        ratios = [ratio(times_s[name, job], times_s["function", job]) for name in names]
        median_ms = statistics.median(times_s["function", job]) * 1000
        print(f"{job:<42}" + "".join(f"{each:16.2f}" for each in ratios) + f"   {median_ms:6.0f} ms")
    for one in list(JOBS)[:3]:
        three = ratio(times_s["function", list(JOBS)[3]], times_s["function", one])
        print(f"three JPEGs cost {three:.2f} x {one}")


def ratio(over_s: list[float], under_s: list[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(over / under for over, under in zip(over_s, under_s, strict=True))


# --- the contenders


@contextmanager
def function(folder: Path) -> Iterator[Contender]:
    """The image function as the local runner starts it."""
    port = free_port()
    environment = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "FUNCTION_SOURCE": str(ROOT / "functions/image/main.py"),
        "FUNCTION_TARGET": "handle",
        "STORE_URL": f"file://{folder}",
        "THREADS": "2",
    }
    command = [sys.executable, "-m", "functions.runtime.serve"]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, env=os.environ | environment, cwd=ROOT, stderr=log, stdout=log)
    url = f"http://127.0.0.1:{port}/"
    try:
        until(lambda: responses(url), what="the function")
        with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            yield lambda wanted: post(connection, wanted)
    finally:
        process.terminate()
        process.wait()


def responses(url: str) -> bool:
    try:
        return httpx.get(url + "healthz").status_code == 200
    except httpx.TransportError:
        return False


def post(connection: HTTPConnection, wanted: Wanted) -> None:
    """One job under an id of its own, done and stored when it returns."""
    outputs = [
        {"name": f"{width_px}.{format_}", "format": format_, "width_px": width_px} for format_, width_px in wanted
    ]
    event = {
        "specversion": "1.0",
        "type": "dev.errands.image.requested.v1",
        "source": "/bench",
        "id": str(uuid.uuid4()),
        "datacontenttype": "application/json",
        "data": {"source": {"key": "uploads/photo.jpg"}, "outputs": outputs},
    }
    connection.request("POST", "/", json.dumps(event), {"content-type": STRUCTURED})
    response = connection.getresponse()
    text = response.read().decode()
    if response.headers["ce-outcome"] != "completed":
        raise SystemExit(f"the function answered {response.status}: {text}")


def bare(content: bytes, wanted: Wanted, *, gap: float = 2.0) -> None:
    """Pillow in a loop, with its fastest options for these outputs."""
    from PIL import Image

    image = Image.open(BytesIO(content), formats=["JPEG"])
    sizes = [(width_px, round(width_px * SOURCE_PX[1] / SOURCE_PX[0])) for _, width_px in wanted]
    largest = max(sizes)
    image.draft("RGB", (math.ceil(largest[0] * gap), math.ceil(largest[1] * gap)))
    for (format_, _), size in zip(wanted, sizes, strict=True):
        options = {"progressive": True, "optimize": True} if format_ == "jpeg" else {"speed": 8, "max_threads": 1}
        small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=gap)
        small.save(BytesIO(), format_, quality=80, **cast(Any, options))


def vips(content: bytes, wanted: Wanted) -> None:
    """libvips, which decodes anew for each output."""
    pyvips = importlib.import_module("pyvips")  # no package of the project's
    for format_, width_px in wanted:
        image = pyvips.Image.thumbnail_buffer(content, width_px)
        if format_ == "jpeg":
            image.jpegsave_buffer(Q=80, interlace=True, optimize_coding=True, keep="none")
        else:
            # libvips' effort is 9 less libaom's speed
            image.heifsave_buffer(Q=80, compression="av1", effort=1, keep="none")


WORKERS: dict[str, tuple[Callable[[bytes, Wanted], None], dict[str, str]]] = {
    "bare loop": (bare, {"PILLOW_BLOCKS_MAX": "32"}),
    "bare, gap 1.1": (lambda content, wanted: bare(content, wanted, gap=1.1), {"PILLOW_BLOCKS_MAX": "32"}),
    "vips, 1 thread": (vips, {"VIPS_CONCURRENCY": "1"}),
    "vips, 2 threads": (vips, {"VIPS_CONCURRENCY": "2"}),
}


def installed() -> list[str]:
    """libvips takes part where it is (`pip install pyvips[binary]`)."""
    return [name for name, (work, _) in WORKERS.items() if work is not vips or importlib.util.find_spec("pyvips")]


@contextmanager
def worker(name: str, folder: Path) -> Iterator[Contender]:
    """This file as a process that does what it is told on a pipe."""
    command = [sys.executable, "-m", "tests.bench.image", name, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | WORKERS[name][1], cwd=ROOT
    ) as process:
        told, heard = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)

        def work(wanted: Wanted) -> None:
            told.write(json.dumps(wanted).encode() + b"\n")
            told.flush()
            if heard.readline() != b"done\n":
                raise SystemExit(f"{name} died")

        yield work
        told.close()


def serve(name: str, folder: str) -> None:
    """The far side of the pipe; it reads the source anew for each job, as the function does."""
    for line in sys.stdin:
        WORKERS[name][0](Path(folder, "uploads/photo.jpg").read_bytes(), json.loads(line))
        print("done", flush=True)


def largest_bytes(folder: Path) -> int:
    """The most that a process of the function itself has had, its server's and its workers'."""
    ours = [status for status in Path("/proc").glob("[0-9]*/status") if belongs(status.parent, str(folder))]
    return max(int(status.read_text().partition("VmHWM:")[2].split()[0]) for status in ours) * 1024


def belongs(process: Path, folder: str) -> bool:
    try:
        return folder.encode() in (process / "environ").read_bytes()
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return False


def peak_bytes(folder: Path) -> int:
    """Of the largest process that makes the three JPEGs: the sandbox's child, libraries included."""
    from functions.image.task import Output, Pictures, Task
    from functions.sandbox.sandbox import Sandbox

    outputs = tuple(Output(name=str(width_px), width_px=width_px) for _, width_px in JOBS["1600, 800 and 200 px JPEG"])
    content = (folder / "uploads/photo.jpg").read_bytes()
    task = Task(outputs=outputs, pixels_limit=50_000_000, frames_limit=100)
    with Sandbox(preload=("functions.image.picture",)) as sandbox:
        sandbox.run("functions.image.picture:render", task, content, result=Pictures)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


if __name__ == "__main__":
    main()
