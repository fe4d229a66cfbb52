"""Own templates: what they can do, what is missing and said, and the attacks that each end refused with a reason."""

import http.server
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pypdf
import pytest
from PIL import Image

from events.types import ReportRequested
from functions.report.draft import Draft
from tests.support.http_server import http_server
from tests.support.report_data import invoice
from tests.support.report_function import Deliver, pdf_texts, serving, stored

HTML = [{"name": "o.html", "format": "html"}]
DATA = {"name": "Ada", "total": "1234.5", "rows": [{"sku": "A-1", "net": "10"}, {"sku": "A-2", "net": "2.5"}]}


def png() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(content, "PNG")
    return content.getvalue()


class Files(http.server.BaseHTTPRequestHandler):
    """A host: /a.png is a picture, /local sends to this machine under another name, /down is down."""

    def do_GET(self) -> None:
        redirect = {
            "/local": f"http://localhost:{self.headers['Host'].rpartition(':')[2]}/a.png",
            "/file": "file:///etc/passwd",
        }
        self.send_response(302 if self.path in redirect else 503 if self.path == "/down" else 200)
        if self.path in redirect:
            self.send_header("Location", redirect[self.path])
        self.end_headers()
        self.wfile.write(b"" if self.path in redirect else png())


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with http_server(Files) as url:
        yield url


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def deliver(folder: Path) -> Iterator[Deliver]:
    limits = {"ASSETS_LIMIT_BYTES": "200000", "MEMORY_LIMIT_BYTES": str(300 << 20), "TIMEOUT_S": "8"}
    with serving(folder, ASSET_HOSTS="127.0.0.1", ALLOWED_NETWORKS="127.0.0.0/8", **limits) as deliver:
        numbers = iter(range(1_000_000))
        yield lambda **changes: deliver(id=f"job-{next(numbers)}", **{"template": None, "data": DATA, **changes})


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.mark.slow
def test_an_inline_template_has_its_data_filters_and_translations(deliver: Deliver, folder: Path) -> None:
    own = {
        "html": "<h1>{{ 'Hello' | t }} {{ name }}, {{ total | money }}, {{ made_at | date('long') }}</h1>"
        "{% for row in data.rows %}<p>{{ row.sku }}</p>{% endfor %}",
        "css": "h1 { color: red }",
        "locale": "de",
        "currency": "EUR",
        "translations": {"de": {"Hello": "Hallo"}},
    }

    reply = deliver(own=own, outputs=[{"name": "o.pdf"}, *HTML])

    (text,) = pdf_texts(stored(reply, folder))
    assert "Hallo Ada, 1.234,50 €, 22. November 2026 A-1 A-2" in text
    assert stored(reply, folder, 1).startswith(b"<style>h1 { color: red }</style><h1>Hallo Ada")


@pytest.mark.slow
def test_a_folder_holds_template_parts_styles_pictures_and_schema(deliver: Deliver, folder: Path) -> None:
    font = Path("/usr/share/fonts/truetype/dejavu/DejaVuSerif.ttf").read_bytes()
    write(
        folder,
        {
            "templates/shop/template.html": "<link rel=stylesheet href=css/a.css>{% include 'part.html' %}"
            "<img src='img/a%20b.png'>",
            "templates/shop/part.html": "<p>{{ name }} {{ _('x') }}</p>",
            "templates/shop/css/a.css": "@import 'b.css'; @font-face { font-family: Own; src: url(../font.ttf) }",
            "templates/shop/css/b.css": "p { font-family: Own; background: url(../img/a%20b.png) }",
            "templates/shop/img/a b.png": png(),
            "templates/shop/font.ttf": font,
            "templates/shop/schema.json": json.dumps({"required": ["name"]}),
            "templates/shop/translations.json": json.dumps({"en": {"x": "translated"}}),
        },
    )

    with serving(folder) as unlimited:
        reply = unlimited(id="folder", template=None, data=DATA, own={"folder": "templates/shop"})

    document = pypdf.PdfReader(io.BytesIO(stored(reply, folder)))
    assert "Ada translated" in document.pages[0].extract_text()
    assert len(document.pages[0].images) >= 1
    embedded, _ = document.pages[0]._get_fonts()
    assert any("Own" in font or "Serif" in font for font in embedded), embedded


def test_data_that_breaks_the_schema_is_named_by_its_path(deliver: Deliver) -> None:
    schema = {
        "type": "object",
        "required": ["iban"],
        "properties": {"rows": {"items": {"properties": {"net": {"type": "number"}}}}, "a/b": {"maximum": 1}},
    }

    reply = deliver(own={"html": "x", "schema": schema}, data={**DATA, "a/b": 2})

    assert reply["type"].endswith("/invalid-data")
    assert {each["pointer"] for each in reply["errors"]} == {
        "#/data",
        "#/data/rows/0/net",
        "#/data/rows/1/net",
        "#/data/a~1b",
    }


def test_own_rows_become_a_spreadsheet(deliver: Deliver, folder: Path) -> None:
    sheets = [{"rows": "rows", "columns": [{"name": "sku"}, {"name": "net", "kind": "number", "total": True}]}]

    reply = deliver(own={"html": "x", "sheets": sheets}, outputs=[{"name": "o.csv", "format": "csv"}])

    assert stored(reply, folder) == b"sku,net\r\nA-1,10\r\nA-2,2.5\r\n"


def test_rows_that_are_none_are_refused(deliver: Deliver) -> None:
    sheets = [{"rows": "name", "columns": [{"name": "sku"}]}]

    reply = deliver(own={"html": "x", "sheets": sheets}, outputs=[{"name": "o.csv", "format": "csv"}])

    assert reply["detail"] == "#/data/name: must be the rows of a sheet, a list of objects, got str"


@pytest.mark.parametrize(
    ("own", "detail"),
    [
        ({"html": "a\n{{ nope }}"}, "template, line 2: 'nope' is undefined"),
        ({"html": "{% if %}"}, "template, line 1: Expected an expression"),
        ({"html": "{% include 'other.html' %}"}, "there is no template 'other.html'"),
        ({"html": "x", "locale": "xx-YY"}, "locale must be one of CLDR's"),
        ({"html": "x", "timezone": "Mars/Base"}, "timezone must be one of IANA's"),
        ({"html": "x", "timezone": "../../etc/passwd"}, "timezone must be one of IANA's"),
        ({"html": "x", "schema": {"type": "thing"}}, "the schema is no JSON Schema"),
        ({"html": "x", "schema": {"$ref": "http://127.0.0.1:9/schema.json"}}, "the schema is no JSON Schema"),
        (
            {"folder": "templates/no/such"},
            "the template template.html: the store has no key 'templates/no/such/template.html'",
        ),
    ],
)
def test_a_wrong_template_is_refused_by_its_place(deliver: Deliver, own: dict[str, Any], detail: str) -> None:
    reply = deliver(own=own)

    assert reply["outcome"] == "failed", reply
    assert detail in reply["detail"]


BROKEN = [
    ("<img src=absent.png>", "absent.png"),
    ("<link rel=stylesheet href=absent.css>", "absent.css"),
    ("<style>@font-face { font-family: F; src: url(absent.woff) } p { font-family: F }</style><p>x", "absent.woff"),
    ("<img src='data:image/png;base64,aGVsbG8='>", "Failed to load image"),
    ("<img src='HOST/missing-host.png'>".replace("HOST", "http://no-such.invalid"), "is not one of the allowed hosts"),
]


@pytest.mark.parametrize(("html", "detail"), BROKEN)
def test_what_is_missing_fails_the_job_or_is_a_warning(deliver: Deliver, folder: Path, html: str, detail: str) -> None:
    write(folder, {"templates/gaps/template.html": html})

    failed = deliver(own={"folder": "templates/gaps"})
    warned = deliver(own={"folder": "templates/gaps"}, on_missing="warn")

    assert failed["type"].endswith("/asset-missing"), failed
    assert detail in failed["detail"]
    assert warned["outcome"] == "completed", warned
    assert any(detail in each for each in warned["warnings"])


def test_a_host_that_is_down_is_tried_again_or_done_without(deliver: Deliver, host: str) -> None:
    own = {"html": f"<img src={host}/down>"}

    assert deliver(own=own)["status"] == 503
    assert deliver(own=own, on_missing="warn")["outcome"] == "completed"


def test_an_allowed_host_gives_its_picture(deliver: Deliver, folder: Path, host: str) -> None:
    reply = deliver(own={"html": f"<img src={host}/a.png>"})

    assert len(pypdf.PdfReader(io.BytesIO(stored(reply, folder))).pages[0].images) == 1


def test_characters_that_no_font_has_are_reported(deliver: Deliver) -> None:
    reply = deliver(own={"html": "<p>fine \U00013aff \U0001f9ff \U000f1234</p>"})

    assert reply["outcome"] == "completed"
    assert "(U+F1234)" in " ".join(reply["warnings"])


ATTACKS = [
    "<img src=file:///etc/passwd>",
    "<img src=FILE:/etc/passwd>",
    "<img src=//etc/passwd>",
    "<img src=/../../../../etc/passwd>",
    "<img src=%2e%2e/%2e%2e/other/secret.png>",
    "<img src='..%5c..%5csecret.png'>",
    "<base href=file:///etc/><img src=passwd>",
    "<base href=http://169.254.169.254/><img src=latest/meta-data>",
    "<link rel=stylesheet href=file:///etc/passwd>",
    "<link rel=attachment href=file:///etc/passwd>",
    "<a rel=attachment href=file:///etc/passwd>x</a>",
    "<style>@import 'file:///etc/passwd';</style>",
    "<style>@import url(http://127.0.0.2/a.css);</style>",
    "<style>p { background: url(file:///etc/passwd) }</style><p>x",
    "<style>p::before { content: url(file:///etc/passwd) }</style><p>x",
    "<style>@page { background: url(file:///etc/passwd) }</style>",
    "<style>@font-face { font-family: F; src: url(file:///etc/passwd) } p { font-family: F }</style><p>x",
    "<ul style='list-style-image: url(file:///etc/passwd)'><li>x</ul>",
    "<object data=file:///etc/passwd></object>",
    "<embed src=file:///etc/passwd>",
    "<img src=http://169.254.169.254/latest/meta-data>",
    "<img src=http://[::1]/>",
    "<img src=http://2130706433/>",
    "<img src=http://localhost/>",
    "<img src=ftp://127.0.0.1/a>",
    "<img src=gopher://127.0.0.1/a>",
    "<img src='http://127.0.0.1@evil.example/'>",
    "<img src=HOST/local>",
    "<img src=HOST/file>",
    "<svg><image href=file:///etc/passwd width=9 height=9 /></svg>",
    '<img src=\'data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    '<image xlink:href="file:///etc/passwd" width="9" height="9"/></svg>\'>',
    '<img src=\'data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg"><style>@import "file:///etc/passwd";</style>'
    "</svg>'>",
    "{% include '../secret.html' %}",
    "{% include '/etc/passwd' %}",
    "{% extends 'file:///etc/passwd' %}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ self._TemplateReference__context.environment.loader }}",
    "{{ (1).__class__.__base__ }}",
    "{{ name.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{% for a in range(10**5) %}{% for b in range(10**5) %}{% endfor %}{% endfor %}",
    "{{ 'a' * 10**9 }}",
    "{% for a in range(10**5) %}{{ 'a' * 10**5 }}{% endfor %}",
    "{{ 10 ** (10 ** 9) }}",
    "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
]


@pytest.mark.slow
@pytest.mark.parametrize("html", ATTACKS)
def test_an_attack_ends_refused_with_a_reason(deliver: Deliver, folder: Path, host: str, html: str) -> None:
    write(folder, {"templates/attack/template.html": html.replace("HOST", host), "templates/other/secret.png": png()})
    write(folder, {"secret.html": "secret"})

    reply = deliver(own={"folder": "templates/attack"})

    assert reply["outcome"] == "failed", reply
    assert reply["detail"]


LAUGHS = "".join(f"<!ENTITY l{n + 1} '{f'&l{n};' * 10}'>" for n in range(9))
HARMLESS = {
    "entities": f"<!DOCTYPE svg [<!ENTITY l0 'ha'>{LAUGHS}]>"
    "<svg xmlns='http://www.w3.org/2000/svg'><text>&l9;</text></svg>",
    "external": "<!DOCTYPE svg [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"
    "<svg xmlns='http://www.w3.org/2000/svg' width='99' height='99'><text y='9'>&x;</text></svg>",
}


@pytest.mark.parametrize("name", HARMLESS)
def test_entities_of_an_svg_are_not_expanded(deliver: Deliver, folder: Path, name: str) -> None:
    write(folder, {"templates/svg/template.html": "<img src=a.svg>", "templates/svg/a.svg": HARMLESS[name]})

    reply = deliver(own={"folder": "templates/svg"})

    assert reply["outcome"] == "failed", reply
    assert "a.svg" in reply["detail"]


def test_an_svg_uses_parts_of_itself_alone(deliver: Deliver, folder: Path) -> None:
    svg = "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><use href='b.svg#a'/></svg>"
    write(
        folder,
        {
            "templates/use/template.html": "<img src=a.svg>",
            "templates/use/a.svg": svg,
            "templates/use/b.svg": HARMLESS["external"],
        },
    )

    assert deliver(own={"folder": "templates/use"})["outcome"] == "completed"


def test_all_assets_together_have_a_limit(deliver: Deliver, folder: Path) -> None:
    write(folder, {f"templates/big/{n}.png": b"x" * 90_000 for n in range(3)})
    write(folder, {"templates/big/template.html": "<img src=0.png><img src=1.png><img src=2.png>"})

    reply = deliver(own={"folder": "templates/big"}, on_missing="warn")

    assert any("must be at most" in each for each in reply["warnings"])


@pytest.mark.slow
def test_a_document_as_deep_as_the_stack_is_refused(deliver: Deliver) -> None:
    reply = deliver(own={"html": "<div>" * 5_000})

    assert reply["detail"] == "the document is nested too deeply to be laid out"


@pytest.mark.parametrize(
    "html",
    [
        "<style>@color-profile own { src: url(file:///etc/passwd) }</style><p>x",
        "<style>@color-profile own { src: url(missing.icc) }</style><p>x",
        "{{ _ | date }}",
        "{{ _ | money }}",
        "{{ nothing | number }}",
    ],
)
def test_what_is_missing_or_no_value_is_never_a_crash_with_a_warning_asked_for(deliver: Deliver, html: str) -> None:
    reply = deliver(own={"html": html}, on_missing="warn", outputs=[{"name": "o.pdf"}])

    assert reply["outcome"] in ("completed", "failed")


# each makes WeasyPrint 70 raise: ValueError and OverflowError
@pytest.mark.parametrize(("style", "told"), [("lang: none", "ValueError"), ("letter-spacing: 1e30px", "OverflowError")])
def test_what_the_layout_of_a_strangers_template_raises_is_told_to_them(
    deliver: Deliver, style: str, told: str
) -> None:
    reply = deliver(own={"html": f"<p style='{style}'>a b c"}, data={}, outputs=[{"name": "o.pdf"}])

    assert (reply["outcome"], reply["type"].rpartition("/")[2]) == ("failed", "template-refused")
    assert [each["pointer"] for each in reply["errors"]] == ["#/own"]
    assert f"the document cannot be laid out: {told}: " in reply["detail"]


def test_what_the_layout_of_a_template_of_ours_raises_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    from functions.report import document

    def broken(*_: Any, **__: Any) -> None:
        raise AssertionError("a box without a page")

    monkeypatch.setattr(document, "pdf", broken)
    job = ReportRequested(template="invoice", data=invoice())
    made_at = datetime(2026, 11, 22, tzinfo=UTC)

    with pytest.raises(AssertionError):
        document.render(
            Draft(job=job, data=None, files={}, identifier="x", made_at=made_at, pages_limit=9, rows_limit=9)
        )
