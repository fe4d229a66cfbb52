"""The report function against bare WeasyPrint: the same page, the same rows, one run.

python -m tests.bench.report [ROUNDS]

The contenders take turns in every round; a figure is the median of the rounds' ratios, so that what else the machine
does falls on all of them. The function is the real one, served over HTTP with its ledger and its store: the template,
the fork, the limits, hashing and storing are in its time. Bare WeasyPrint is a warm process in a loop, with its
defaults, on the function's own HTML, or on a plain table as one would write it; a cold one is a process that imports
WeasyPrint, or a function of functions-framework that does, from its start to its first PDF. A cold function starts on
two cores at once: the renderer beside the server; on one that is busy it gains less.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, cast

import httpx

from events.http import STRUCTURED
from tests.support.local_runner import ROOT
from tests.support.ports import free_port
from tests.support.report_data import invoice, orders, table

ROUNDS = 7
# A function that has answered makes itself ready for the next report, or ends: that falls on no other contender.
PAUSE_S = 0.7
ROWS_OF_50_PAGES = 1_990
Job = dict[str, Any]
Contender = Callable[[], object]

EAGER = """
import functions_framework, weasyprint
@functions_framework.http
def handle(request):
    return weasyprint.HTML(string=request.get_data(as_text=True)).write_pdf()
"""


def main() -> None:
    """Rounds, then the ratios."""
    if sys.argv[1:] == ["bare"]:
        serve_bare()
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        post = stack.enter_context(served(folder, ROOT / "functions/report/main.py", REPORT))
        bare = stack.enter_context(bare_process())
        one = {"template": "invoice", "data": invoice(), "outputs": [{"name": "a.pdf"}]}
        long = {"template": "table", "data": table(rows=orders(ROWS_OF_50_PAGES)), "outputs": [{"name": "a.pdf"}]}
        html = html_of(post, folder, one)
        measured = compare(
            rounds,
            {
                "invoice": lambda: post(one),
                "invoice, bare": lambda: bare(html),
                "table": lambda: post(long),
                "table, bare": lambda: bare(plain_table(ROWS_OF_50_PAGES)),
                "xlsx": lambda: post({**long, "data": table(rows=orders(10_000)), "outputs": XLSX}),
                "two at once": lambda: at_once(post, long),
                "cold": lambda: cold(folder, ROOT / "functions/report/main.py", REPORT, one),
                "cold, eager function": lambda: cold(folder, eager_function(folder), {}, html, "functions_framework"),
                "cold, bare process": lambda: cold_process(html),
            },
        )
    show(measured)


def compare(rounds: int, contenders: dict[str, Contender]) -> dict[str, list[float]]:
    """Seconds of each, round by round; the first round warms up."""
    times_s: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, work in contenders.items():
            started_s = time.perf_counter()
            work()
            if number:
                times_s[name].append(time.perf_counter() - started_s)
            time.sleep(PAUSE_S)
    return times_s


def show(times_s: dict[str, list[float]]) -> None:
    for over, under, aim in (
        ("invoice", "invoice, bare", 1.1),
        ("table", "table, bare", 0.65),
        ("cold", "cold, eager function", 0.75),
        ("cold", "cold, bare process", None),
        ("two at once", "table", None),
    ):
        ratio = statistics.median(a / b for a, b in zip(times_s[over], times_s[under], strict=True))
        of_it = f"{statistics.median(times_s[over]):.2f} s against {statistics.median(times_s[under]):.2f} s"
        print(f"{over} / {under}: {ratio:.2f}" + (f" (aim {aim})" if aim else "") + f"; {of_it}")
    print(f"10,000 rows to XLSX: {statistics.median(times_s['xlsx']):.2f} s (aim 3)")


def plain_table(count: int) -> str:
    """The same cells as one would write them without thinking of the renderer."""
    css = (
        "table { border-collapse: collapse; width: 100% } th, td { border: 1px solid #ccc; padding: 4px; "
        "font: 8pt sans-serif } tr:nth-child(even) { background: #eee }"
    )
    rows = "".join(
        f"<tr><td>{r['customer']}</td><td>{r['region']}</td><td>{r['day']}</td><td>{r['quantity']}</td>"
        f"<td>{r['net']}</td></tr>"
        for r in orders(count)
    )
    head = "<thead><tr><th>Customer<th>Region<th>Day<th>Quantity<th>Net</tr></thead>"
    return f"<style>{css}</style><table>{head}<tbody>{rows}</tbody></table>"


XLSX = [{"name": "a.xlsx", "format": "xlsx"}]
REPORT = {"SANDBOX_PRELOAD": "functions.report.engine.preload"}  # as in knative/base/report.yaml


# --- the contenders


@contextmanager
def served(
    folder: Path, main: Path, extra: dict[str, str], module: str = "functions.runtime.serve"
) -> Iterator[Callable[[Job | str], bytes]]:
    """A function as the local runner starts it, or by another module; the first post waits until it answers."""
    port = free_port()
    environment = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "FUNCTION_SOURCE": str(main),
        "FUNCTION_TARGET": "handle",
        "STORE_URL": f"file://{folder}/store",
        "THREADS": "2",
        **extra,
    }
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            env=os.environ | environment,
            cwd=ROOT,
            stderr=log,
            stdout=log,
        )
    try:
        with httpx.Client(timeout=120, transport=httpx.HTTPTransport(retries=0)) as client:
            yield lambda job: post(client, f"http://127.0.0.1:{port}/", job)
    finally:
        process.terminate()
        process.wait()


def post(client: httpx.Client, url: str, job: Job | str) -> bytes:
    """One job under an id of its own, done and stored when it returns; a text is posted as it is."""
    event = {
        "specversion": "1.0",
        "type": "dev.errands.report.requested.v1",
        "source": "/bench",
        "id": str(uuid.uuid4()),
        "datacontenttype": "application/json",
        "data": job,
    }
    content, kind = (job, "text/html") if isinstance(job, str) else (json.dumps(event), STRUCTURED)
    while True:
        try:
            response = client.post(url, content=content, headers={"content-type": kind})
            break
        except httpx.ConnectError:
            time.sleep(0.005)
    if not isinstance(job, str) and response.headers.get("ce-outcome") != "completed":
        raise SystemExit(f"the function answered {response.status_code}: {response.text}")
    return response.content


def html_of(post: Callable[[Job], bytes], folder: Path, job: Job) -> str:
    reply = json.loads(post({**job, "outputs": [{"name": "a.html", "format": "html"}]}))
    return Path(folder, "store", reply["artifacts"][0]["key"]).read_text()


def at_once(post: Callable[[Job], bytes], job: Job) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(post, [job, job]))


def eager_function(folder: Path) -> Path:
    (folder / "eager.py").write_text(EAGER)
    return folder / "eager.py"


def cold(
    folder: Path, main: Path, extra: dict[str, str], job: Job | str, module: str = "functions.runtime.serve"
) -> None:
    with served(folder, main, extra, module) as first:
        first(job)


def cold_process(html: str) -> None:
    code = "import sys, weasyprint; weasyprint.HTML(string=sys.stdin.read()).write_pdf()"
    subprocess.run([sys.executable, "-c", code], input=html.encode(), check=True)


@contextmanager
def bare_process() -> Iterator[Callable[[str], None]]:
    """This file as a warm process that renders what it is given, with WeasyPrint's defaults."""
    command = [sys.executable, "-m", "tests.bench.report", "bare"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        told, heard = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)

        def work(html: str) -> None:
            told.write(json.dumps(html).encode() + b"\n")
            told.flush()
            if heard.readline() != b"done\n":
                raise SystemExit("bare WeasyPrint died")

        yield work
        told.close()


def serve_bare() -> None:
    """The far side of the pipe."""
    import weasyprint  # type: ignore[import-untyped]  # it has no types

    for line in sys.stdin:
        weasyprint.HTML(string=json.loads(line)).write_pdf()
        print("done", flush=True)


if __name__ == "__main__":
    main()
