"""What is used of WeasyPrint that it does not document: the name of a test says what a new release broke.

The renderer is imported in each test and not above: it is heavy, and has Pillow read cut pictures from then on.
"""

import inspect
import logging
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import pytest

from events.problem import JobFailed
from events.types.report import ReportPdf
from functions.report.builtin import builtin_page
from functions.report.draft import Asset
from functions.report.page import Page
from tests.support.report_data import orders, table
from tests.support.report_function import ROOT, require_pango

MADE_AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _pango() -> None:
    require_pango()


def warnings(page: Page, *, pages_limit: int = 100) -> tuple[str, ...]:
    from functions.report.engine.messages import Journal
    from functions.report.engine.pdf import Press, pdf

    journal = Journal(pages_limit=pages_limit, fails=False)
    pdf(page, ReportPdf(), {}, Press(lambda _: Asset(refusal="is not there"), journal, "x", MADE_AT))
    return journal.warnings


def in_a_process(program: str, *arguments: object) -> str:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_weasyprint_still_has_its_style_sheets_in_a_method_that_a_page_may_override() -> None:
    from functions.report.engine.lean import LeanHTML
    from functions.report.engine.weasy import weasyprint

    page = LeanHTML("<p/>", base_url="", url_fetcher=None)

    with patch.object(LeanHTML, "_ua_stylesheets", return_value=[]) as asked:
        weasyprint.HTML.render(page)
    assert asked.called


def test_weasyprint_still_has_the_rules_that_are_left_out() -> None:
    from functions.report.engine.lean import MARKER, NOTES, LeanHTML
    from functions.report.engine.weasy import weasyprint

    (whole,) = weasyprint.HTML(string="<p>")._ua_stylesheets()
    (lean,) = LeanHTML("<p/>", base_url="", url_fetcher=None)._ua_stylesheets()

    assert {each[3] for each in whole.matcher.other_selectors} >= {MARKER, *NOTES}
    assert not NOTES & {each[3] for each in lean.matcher.other_selectors}


def test_weasyprint_still_has_in_a_page_what_our_own_reader_puts_there() -> None:
    from functions.report.engine.lean import LeanHTML
    from functions.report.engine.weasy import weasyprint

    assert vars(weasyprint.HTML(string="<p>")).keys() == vars(LeanHTML("<p/>", base_url="", url_fetcher=None)).keys()


@pytest.mark.slow
def test_weasyprint_still_measures_texts_and_lines_by_the_functions_whose_answers_are_kept() -> None:
    from functions.report.engine.weasy import inline, preferred

    assert preferred.split_first_line is inline.split_first_line
    page = builtin_page("table", table(rows=[orders(1)[0]] * 200), rows_are_read=False, made_at=MADE_AT)

    with (
        patch.object(inline, "split_first_line", wraps=inline.split_first_line) as split,
        patch.object(inline, "strut", wraps=inline.strut) as strut,
    ):
        warnings(page)

    assert 5 < split.call_count < 100
    assert 5 < strut.call_count < 100


def test_weasyprint_still_takes_and_gives_what_the_kept_answers_are_known_by() -> None:
    from functions.report.engine.weasy import inline

    asked = list(inspect.signature(inline.split_first_line).parameters)
    assert asked[:3] == ["text", "style", "context"]
    assert list(inspect.signature(inline.strut).parameters) == ["style"]


@pytest.mark.slow
def test_weasyprint_still_calls_of_what_is_imported_late_nothing_but_functions() -> None:
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

    assert in_a_process(program).splitlines() == ["[]", "True True", "['fontTools.ttLib.woff2']"]


@pytest.mark.slow
def test_weasyprint_still_declares_what_is_ready_made(tmp_path: Path) -> None:
    """Until `python -m functions.report.engine.binding` has made them anew a function's first report comes later."""
    from functions.report.engine import binding, declarations

    if binding.made_with() != declarations.MADE_WITH:
        pytest.skip(f"made with {declarations.MADE_WITH}, and here is {binding.made_with()}: make them anew")
    program = "import sys; from pathlib import Path; from functions.report.engine.binding import write; "

    in_a_process(program + "write(Path(sys.argv[1]))", tmp_path / "made.py")

    assert (tmp_path / "made.py").read_text() == (ROOT / "functions/report/engine/declarations.py").read_text()


def test_weasyprint_still_logs_each_page_that_it_begins() -> None:
    page = Page(html="<p style='break-after: page'>a</p>" * 5, title="", day="")

    with (
        patch("functions.report.engine.messages.progress") as told,
        pytest.raises(JobFailed, match="at most 3 pages"),
    ):
        warnings(page, pages_limit=3)

    assert [each.args for each in told.call_args_list] == [("page 1",), ("page 2",), ("page 3",)]


@pytest.mark.parametrize(
    ("html", "warning"),
    [
        ("<p>\U000f1234</p>", r"no font has .* \(U\+F1234\)"),
        ("<img src='http://template.invalid/a.png'>", r"a\.png: is not there"),
        ("<link rel=stylesheet href='http://template.invalid/a.css'>", r"a\.css: is not there"),
        ("<style>@font-face { font-family: a; src: url(data:,x) }</style><p style='font-family: a'>a", "Font-face"),
        ("<img src='data:image/png;base64,AAAA'>", "Failed to load image"),
    ],
)
def test_weasyprint_still_says_what_it_could_not_load_or_show_in_words_that_are_known(html: str, warning: str) -> None:
    found = warnings(Page(html=html, title="", day=""))

    assert any(re.search(warning, each) for each in found)


def test_weasyprint_still_lets_an_error_of_the_fetcher_that_is_fatal_through() -> None:
    from functions.report.engine.messages import AssetMissing, Journal
    from functions.report.engine.pdf import Press, pdf

    page = Page(html="<img src='http://template.invalid/a.png'>", title="", day="")
    press = Press(lambda _: Asset(refusal="is not there"), Journal(pages_limit=9, fails=True), "x", MADE_AT)

    with pytest.raises(AssetMissing, match="is not there"):
        pdf(page, ReportPdf(), {}, press)


def test_weasyprint_is_imported_in_one_folder_alone() -> None:
    own = [file for part in ("events", "functions", "knative", "keda") for file in (ROOT / part).rglob("*.py")]
    imports = re.compile(r"^\s*(?:from|import) (?:weasyprint|cffi|_cffi_backend|cssselect2|tinycss2)\b", re.MULTILINE)

    found = {file.parent for file in own if imports.search(file.read_text())}

    assert found == {ROOT / "functions/report/engine"}


def test_weasyprint_has_an_upper_bound_in_pyproject() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    assert any(re.fullmatch(r"weasyprint>=\d+,<\d+", each) for each in extras["report"])


def test_nobody_else_listens_to_weasyprint_once_a_page_is_laid_out() -> None:
    warnings(Page(html="<p>a</p>", title="", day=""))

    assert not logging.getLogger("weasyprint.progress").handlers
