"""What makes reports fast changes no byte of them.

The renderer is imported in each test and not above: it is heavy, and has Pillow read cut pictures from then on.
"""

import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jinja2
import pytest

from events.types.report import ReportContents, ReportPdf
from functions.report.builtin import Compiled, builtin_page
from functions.report.draft import Asset
from functions.report.page import Page
from functions.templating.template import Conventions, environment
from tests.support.report_data import CASES, orders, table
from tests.support.report_function import ROOT, require_pango

pytestmark = pytest.mark.slow

MADE_AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
EVERYTHING = [(name, case) for name, cases in CASES.items() for case in cases]
PLAIN = ReportPdf()
CONTENTS = ReportPdf(contents=ReportContents())
CLAMP = "<style>p { width: 40mm; max-lines: 1; block-ellipsis: auto; continue: discard }</style>"


@pytest.fixture(autouse=True)
def _pango() -> None:
    require_pango()


def built_in(name: str, data: dict[str, Any]) -> Page:
    return builtin_page(name, data, rows_are_read=False, made_at=MADE_AT)


def printed(page: Page, options: ReportPdf = PLAIN) -> bytes:
    from functions.report.engine.messages import Journal
    from functions.report.engine.pdf import Press, pdf

    journal = Journal(pages_limit=100, fails=True)
    return pdf(page, options, {}, Press(lambda _: Asset(), journal, "x", MADE_AT)).content


@contextmanager
def nothing_remembered() -> Iterator[None]:
    yield


def as_weasyprint_does(page: Page, options: ReportPdf = PLAIN) -> bytes:
    from functions.report.engine import pdf as module

    with patch.object(module, "remembered", nothing_remembered):
        return printed(replace(page, is_xml=False), options)


def test_a_table_of_many_pages_read_lean_gives_the_same_bytes() -> None:
    rows = [{**each, "region": f"Region {number // 7}"} for number, each in enumerate(orders(250))]
    page = built_in("table", table(rows=rows, group_by="region"))

    assert printed(page) == as_weasyprint_does(page)
    assert printed(page, CONTENTS) == as_weasyprint_does(page, CONTENTS)


@pytest.mark.parametrize(("name", "case"), EVERYTHING)
def test_a_built_in_template_is_xml_and_read_lean_gives_the_same_bytes(name: str, case: str) -> None:
    from functions.report.engine.lean import LeanHTML, read

    page = built_in(name, CASES[name][case])

    assert isinstance(read(page, base_url="", url_fetcher=None), LeanHTML)
    assert printed(page) == as_weasyprint_does(page)


def test_a_character_that_xml_forbids_is_read_as_html() -> None:
    from functions.report.engine.lean import LeanHTML, read

    page = built_in("table", table(rows=[{**orders(1)[0], "customer": "a\x0bb"}]))

    assert not isinstance(read(page, base_url="", url_fetcher=None), LeanHTML)
    assert printed(page) == as_weasyprint_does(page)


def test_a_text_cut_short_is_the_same_each_time() -> None:
    page = Page(html=CLAMP + "<p>A text of more words than fit on a line</p>" * 3, title="", day="")

    assert printed(page) == as_weasyprint_does(page)


@pytest.mark.parametrize("known", [True, False])
def test_declarations_that_are_not_ready_made_are_parsed(*, known: bool) -> None:
    program = f"""import sys
from functions.report.engine import declarations
if not {known}:
    declarations.DIGEST = "another"
from functions.report.engine import preload
print("pycparser" in sys.modules, len(preload.print_example("invoice")))
"""

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    from functions.report.engine import preload

    assert done.stdout.split() == [str(not known), str(len(preload.print_example("invoice")))]


def test_threads_of_the_font_search_reserve_no_heaps_of_their_own() -> None:
    program = """import sys
from pathlib import Path
from functions.report.engine import fonts, preload
if sys.argv[1] == "one":
    fonts.use_one_heap()
before = int(Path("/proc/self/statm").read_text().split()[0])
preload.print_example("invoice")
print(int(Path("/proc/self/statm").read_text().split()[0]) - before)
"""

    pages = [
        int(subprocess.run([sys.executable, "-c", program, heaps], cwd=ROOT, capture_output=True, check=True).stdout)
        for heaps in ("one", "many")
    ]

    assert pages[1] - pages[0] > (50 << 20) // resource.getpagesize()


def with_template(source: str, compiled: Compiled) -> str:
    made = environment(Conventions(), {"page": source}.get, compiled=compiled)
    return made.get_template("page").render()


def test_a_template_that_was_kept_is_compiled_by_no_later_process(tmp_path: Path) -> None:
    first = Compiled(tmp_path / "kept")
    with_template("{{ 1 + 1 }} pages", first)

    first.keep()

    with patch.object(jinja2.Environment, "compile", side_effect=AssertionError("it was compiled")):
        assert with_template("{{ 1 + 1 }} pages", Compiled(tmp_path / "kept")) == "2 pages"
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_a_kept_template_that_was_changed_is_compiled_anew(tmp_path: Path) -> None:
    first = Compiled(tmp_path)
    with_template("as it was", first)
    first.keep()

    assert with_template("as it is", Compiled(tmp_path)) == "as it is"


def test_templates_that_cannot_be_kept_are_used_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file where the folder should be")
    first = Compiled(tmp_path / "kept")

    assert with_template("text", first) == "text"
    first.keep()


@pytest.fixture
def _fonts_of_its_own() -> Iterator[None]:
    from functions.report.engine import fonts

    yield
    fonts.forget()


@pytest.mark.usefixtures("_fonts_of_its_own")
def test_what_is_printed_after_the_chores_is_the_same() -> None:
    from functions.report.engine import preload

    pages = [built_in(name, CASES[name][case]) for name, case in EVERYTHING if case != "long"]
    cold = [printed(page) for page in pages]

    for chore in preload.WARM_UP:
        chore()

    assert [printed(page) for page in pages] == cold


@pytest.mark.usefixtures("_fonts_of_its_own")
def test_fonts_with_a_thread_are_not_shared_with_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    from functions.report.engine import fonts

    monkeypatch.setattr(fonts, "_PATIENCE_S", 0.01)
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    fonts.gather()

    fonts.settle()
    end.set()
    thread.join()

    assert fonts.shared() is None
