"""PDF/A and PDF/UA, judged by veraPDF: every built-in template, and what an own one is told."""

import base64
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from events.types import ReportRequested
from events.types.report import (
    ReportContents,
    ReportMargin,
    ReportOutput,
    ReportOwnTemplate,
    ReportPdf,
    ReportRunning,
    ReportVariant,
    ReportWatermark,
)
from functions.report.draft import Draft
from tests.support.report_data import CASES, EPC_PAYMENT, german_invoice, line, orders, table
from tests.support.report_data import invoice as invoice_data
from tests.support.report_function import require_pango
from tests.support.validators import broken_rules, jars

pytestmark = [pytest.mark.server, pytest.mark.slow]

VARIANTS: tuple[ReportVariant, ...] = ("pdf/a-2b", "pdf/a-3b", "pdf/ua-1")
MADE_AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
EVERY_OPTION: dict[str, Any] = {
    "contents": ReportContents(),
    "header": ReportRunning(left="{title}", right="{date}"),
    "footer": ReportRunning(center="{page} of {pages}"),
    "margin": ReportMargin(left_mm=30),
    "watermark": ReportWatermark(text="DRAFT"),
}


def picture(mode: str = "RGB", format_: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.new(mode, (9, 9)).save(content, format_)
    return content.getvalue()


def url(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


@dataclass(frozen=True)
class Maker:
    """Makes a job's PDF in each variant into a folder, and keeps what was told."""

    folder: Path
    told: dict[tuple[str, str], tuple[str, ...]]

    def make(self, name: str, options: dict[str, Any] | None = None, **job: Any) -> None:
        from functions.report.document import render

        for variant in VARIANTS:
            pdf = ReportPdf(variant=variant, **(options or {}))
            requested = ReportRequested(outputs=(ReportOutput(name="o.pdf", pdf=pdf),), **job)
            files = {"#/outputs/0/pdf/watermark/source": picture("RGBA"), "#/data/logo": picture()}
            draft = Draft(
                job=requested,
                data=None,
                files=files,
                identifier="x",
                made_at=MADE_AT,
                pages_limit=500,
                rows_limit=9,
            )
            made = render(draft)
            assert made.refusal is None, made.refusal
            (self.folder / f"{name}.{variant[4:]}.pdf").write_bytes(made.documents["o.pdf"].content)
            self.told[name, variant] = tuple(each for each in made.warnings if each.startswith(variant))

    def broken(self) -> dict[tuple[str, str], list[str]]:
        """By name and variant the rules that are broken, where one is."""
        return {
            (name.removesuffix(f".{variant[4:]}.pdf"), variant): rules
            for variant in VARIANTS
            for name, rules in broken_rules(variant, sorted(self.folder.glob(f"*.{variant[4:]}.pdf"))).items()
            if rules
        }


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    require_pango()
    jars("verapdf")
    return Maker(tmp_path, {})


def test_every_built_in_template_is_the_variant_that_it_claims_to_be(maker: Maker) -> None:
    for template, cases in CASES.items():
        for case, data in cases.items():
            maker.make(f"{template}-{case}", template=template, data=data)
        maker.make(f"{template}-options", EVERY_OPTION, template=template, data=cases["short"])
        of_picture = {"watermark": ReportWatermark(source={"key": "x"}, width_percent=40)}  # type: ignore[arg-type]  # read already
        maker.make(f"{template}-picture", of_picture, template=template, data=cases["short"])
    maker.make("invoice-logo", template="invoice", data=german_invoice(logo={"key": "x"}, payment=EPC_PAYMENT))
    maker.make("table-pages", template="table", data=table(rows=orders(250), group_by="region"))
    maker.make("invoice-pages", template="invoice", data=invoice_data(lines=[line()] * 120))

    assert maker.broken() == {}
    assert not any(maker.told.values())


PAGE = "<!doctype html><html lang=en><title>T</title><style>{css}</style><h1>T</h1>{body}</html>"
SOUND = {
    "png": f"<img alt=x src='{url(picture())}'>",
    "transparent": f"<img alt=x src='{url(picture('RGBA'))}'>",
    "grey": f"<img alt=x src='{url(picture('L', 'JPEG'), 'jpeg')}'>",
    "background": f"<p style=\"background: url('{url(picture())}')\">x</p>",
    "drawing": "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9' width=30><title>x</title>"
    f"<rect width=5 height=5 fill-opacity='.5'/><image href='{url(picture())}' width=5 height=5 /></svg>",
    "colours": "<p style='color: rgb(1 2 3 / 50%); background: linear-gradient(red, transparent)'>x</p>",
    "links": "<p><a href='https://x.example/'>to <b>bold</b></a> <a href='#here'><i>inside</i></a></p><p id=here>x</p>"
    f"<a href='https://x.example/'><img alt=x src='{url(picture())}'></a>",
    "lists": "<ul><li>a<ul><li>b</ul></ul><ol><li>c</ol><dl><dt>d<dd>e</dl>",
    "tables": "<table><caption>c</caption><tr><th>a<th>b<tr><td>1<td>2<tr><td colspan=2>3</table>",
    "headings": "<h2>a</h2><h3>b</h3><h2>c</h2>",
}


def test_an_own_template_of_sound_html_is_the_variant_that_it_asks_for(maker: Maker) -> None:
    for name, body in SOUND.items():
        maker.make(name, own=ReportOwnTemplate(html=PAGE.format(css="", body=body)), data={})

    assert maker.broken() == {}
    assert not any(maker.told.values())


UNSOUND = {
    ("no-alt", "pdf/ua-1"): (f"<img src='{url(picture())}'>", "the picture 'data:image/png;base64,"),
    ("empty-alt", "pdf/ua-1"): (f"<img alt='' src='{url(picture())}'>", "has no text in alt"),
    ("no-title", "pdf/ua-1"): ("<svg xmlns='http://www.w3.org/2000/svg' width=9 height=9 />", "an svg has no title"),
    ("skipped", "pdf/ua-1"): ("<h3>Far down</h3>", "the heading 'Far down' is an h3 after an h1"),
    ("ragged", "pdf/ua-1"): ("<table><tr><th>a<th>b<tr><td>1</table>", "a table has rows of different numbers"),
    ("opacity", "pdf/ua-1"): ("<p style='opacity: .5'>x</p>", "a text with opacity is not read out"),
    ("attached", "pdf/ua-1"): ("<a rel=attachment href='data:text/plain,x'>f</a>", "a link with rel=attachment"),
    ("form", "pdf/ua-1"): ("<input style='appearance: auto'>", "fields of a form"),
    ("field", "pdf/a-2b"): ("<input style='appearance: auto'>", "fields of a form"),
    ("print", "pdf/a-2b"): (f"<img alt=x src='{url(picture('CMYK', 'JPEG'), 'jpeg')}'>", "a picture has the colours"),
    ("print-colour", "pdf/a-3b"): ("<p style='color: device-cmyk(0 1 1 0)'>x</p>", "a style has the colours of print"),
}


def test_an_own_template_is_told_what_veraPDF_would_find(maker: Maker) -> None:  # noqa: N802  # its name
    for (name, _), (body, _) in UNSOUND.items():
        maker.make(name, own=ReportOwnTemplate(html=PAGE.format(css="", body=body)), data={})
    maker.make("no-lang", own=ReportOwnTemplate(html="<title>T</title><h1>T</h1>"), data={})

    broken = maker.broken()
    assert {each for each, told in maker.told.items() if told} == broken.keys()
    for (name, variant), (_, words) in UNSOUND.items():
        assert words in " ".join(maker.told[name, variant])
    assert maker.told["no-lang", "pdf/ua-1"] == ("pdf/ua-1: the element html has no lang",)
