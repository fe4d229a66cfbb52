"""What makes reports fast changes no byte of them, and is noticed where a version of WeasyPrint takes it away.

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

MADE_AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
EVERYTHING = [(name, case) for name, cases in CASES.items() for case in cases]
PLAIN = ReportPdf()
CLAMP = "<style>p { width: 40mm; max-lines: 1; block-ellipsis: auto; continue: discard }</style>"


@pytest.fixture(autouse=True)
def _pango() -> None:
    require_pango()


def built_in(name: str, data: dict[str, Any]) -> Page:
    return builtin_page(name, data, rows_are_read=False, made_at=MADE_AT)


def printed(page: Page, options: ReportPdf = PLAIN) -> bytes:
    from functions.report.engine.messages import Journal
    from functions.report.pdf import Press, pdf

    journal = Journal(pages_limit=100, fails=True)
    return pdf(page, options, {}, Press(lambda _: Asset(), journal, "x", MADE_AT)).content


@contextmanager
def nothing_remembered() -> Iterator[None]:
    yield


def as_weasyprint_does(page: Page, options: ReportPdf = PLAIN) -> bytes:
    from functions.report import pdf as module

    with patch.object(module, "remembered", nothing_remembered):
        return printed(replace(page, is_xml=False, is_long_table=False), options)


def long_table() -> Page:
    """Of groups that end anywhere on a page."""
    rows = [{**each, "region": f"Region {number // 7}"} for number, each in enumerate(orders(250))]
    page = built_in("table", table(rows=rows, group_by="region"))
    assert page.is_long_table
    return page


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


def test_weasyprint_has_the_rules_that_are_left_out() -> None:
    from functions.report.engine.lean import MARKER, NOTES, LeanHTML, read
    from functions.report.engine.weasy import weasyprint

    (whole,) = read(Page(html="<p>", title="", day=""), base_url="", url_fetcher=None)._ua_stylesheets()
    (lean,) = LeanHTML("<p/>", base_url="", url_fetcher=None)._ua_stylesheets()

    assert isinstance(whole, weasyprint.CSS)
    assert {each[3] for each in whole.matcher.other_selectors} >= {MARKER, *NOTES}
    assert not NOTES & {each[3] for each in lean.matcher.other_selectors}


SHEETS = """import json, sys
if sys.argv[1] == "ours":
    from functions.report import engine
    engine.complete()
elif sys.argv[1] == "other":
    import tinycss2
    from functions.report import user_agent
    user_agent._SHEETS["ANOTHER"] = "ANOTHER_STYLESHEET"
    from functions.report import engine
from weasyprint import html
sheets = [html.UA_STYLESHEET, html.UA_FORM_STYLESHEET, html.PH_STYLESHEET]
told = [[sheet.matcher.order, len(sheet.page_rules), sheet.matcher.other_selectors] for sheet in sheets]
print(json.dumps([told, html.UA_COUNTER_STYLE], default=lambda each: type(each).__name__))
"""


def sheets(how: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", SHEETS, how], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def test_sheets_that_are_parsed_later_are_those_that_weasyprint_parses() -> None:
    assert sheets("ours") == sheets("weasyprint")


def test_another_weasyprint_parses_its_sheets_as_it_ever_did() -> None:
    assert sheets("other") == sheets("weasyprint")


def test_a_built_in_template_waits_for_no_sheet_that_it_does_not_meet() -> None:
    program = """from functions.report import lean
from weasyprint import html
page = lean.LeanHTML("<p/>", base_url="", url_fetcher=None)
print(html.UA_STYLESHEET.matcher.order, html.PH_STYLESHEET.matcher.order)
print(0 < page._ua_stylesheets()[0].matcher.order < 300, sorted(page._ua_counter_style()[0]))
"""

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == ["0 0", "True ['decimal', 'disc']"]


def test_the_declarations_are_those_of_the_weasyprint_that_is_installed(tmp_path: Path) -> None:
    """After an upgrade reports may start 30 ms later, until `python -m functions.report.engine.binding` has made them
    anew.
    """
    from functions.report.engine import binding, declarations

    if binding.made_with() != declarations.MADE_WITH:
        pytest.skip(f"made with {declarations.MADE_WITH}, and here is {binding.made_with()}: make them anew")
    program = (
        "import sys; from pathlib import Path; from functions.report import binding; binding.write(Path(sys.argv[1]))"
    )

    subprocess.run([sys.executable, "-c", program, tmp_path / "made.py"], cwd=ROOT, capture_output=True, check=True)

    assert (tmp_path / "made.py").read_text() == (ROOT / "functions/report/engine/declarations.py").read_text()


@pytest.mark.parametrize("known", [True, False])
def test_declarations_that_are_not_ready_made_are_parsed(*, known: bool) -> None:
    program = f"""import sys
from functions.report import declarations
if not {known}:
    declarations.DIGEST = "another"
from functions.report import press
print("pycparser" in sys.modules, len(press.print_example("invoice")))
"""

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    from functions.report.engine import preload

    assert done.stdout.split() == [str(not known), str(len(preload.print_example("invoice")))]


def test_cells_alike_are_laid_out_once() -> None:
    from functions.report.engine.weasy import inline

    page = built_in("table", table(rows=[orders(1)[0]] * 200))

    with (
        patch.object(inline, "split_first_line", wraps=inline.split_first_line) as split,
        patch.object(inline, "strut", wraps=inline.strut) as strut,
    ):
        printed(page)

    assert 5 < split.call_count < 100
    assert 5 < strut.call_count < 100


@pytest.mark.parametrize("options", [PLAIN, ReportPdf(contents=ReportContents())], ids=["plain", "contents"])
def test_a_long_table_whose_rows_are_let_go_gives_the_same_bytes(options: ReportPdf) -> None:
    assert printed(long_table(), options) == as_weasyprint_does(long_table(), options)


def test_rows_are_let_go_when_their_page_is_done() -> None:
    from functions.report.engine.weasy import boxes, layout_page

    with patch.object(layout_page, "remake_page", wraps=layout_page.remake_page) as make:
        printed(long_table())

    root_box = make.call_args.args[2]
    kept = [row for row in root_box.descendants() if isinstance(row, boxes.TableRowBox) and row.children]
    assert make.call_count > 5
    assert 2 < len(kept) < 60


def test_a_page_whose_rows_are_gone_is_not_made_anew() -> None:
    from functions.report.engine.rows import Pages

    pages = Pages(lambda *_: ("page", None))
    pages(0, None, None, None)

    with pytest.raises(RuntimeError, match="page 1 cannot be made anew"):
        pages(0, None, None, None)


def test_threads_of_the_font_search_reserve_no_heaps_of_their_own() -> None:
    program = """import sys
from pathlib import Path
from functions.report import fonts, press
if sys.argv[1] == "one":
    fonts.use_one_heap()
before = int(Path("/proc/self/statm").read_text().split()[0])
press.print_example("invoice")
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


def test_what_pages_seldom_need_is_imported_when_it_is_called() -> None:
    program = """import sys, functions.report.engine.preload
from functions.report.engine.weasy import SELDOM, weasyprint
from weasyprint.pdf import fonts
print([name for name in SELDOM if name in sys.modules])
print(fonts.subset.Options(retain_gids=True).retain_gids, "fontTools.subset" in sys.modules)
try:
    fonts.instantiateVariableFont(None, {})
except TypeError:
    pass
weasyprint.HTML(string="<p>")
print([name for name in SELDOM if name not in sys.modules])
"""

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == ["[]", "True True", "['fontTools.ttLib.woff2']"]
