"""Options of a PDF, read back with pypdf and pikepdf: size, rims, running texts, contents, variants, joining, locks."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pikepdf
import pypdf
import pypdfium2  # type: ignore[import-untyped]  # it has no types
import pytest
from PIL import Image

from tests.support.report_data import invoice, orders, table
from tests.support.report_function import Deliver, pdf_texts, serving, stored, uploaded

pytestmark = pytest.mark.slow

POINTS_PER_MM = 72 / 25.4
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><rect width="9" height="9" fill="#f00"/></svg>'


def png() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (9, 9), "#f00").save(content, "PNG")
    return content.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def deliver(folder: Path) -> Iterator[Deliver]:
    with serving(folder, PAGES_LIMIT="60", ASSETS_LIMIT_BYTES="3000000") as deliver:
        numbers = iter(range(1_000_000))
        yield lambda **changes: deliver(id=f"job-{next(numbers)}", **changes)


def outputs(**options: Any) -> list[dict[str, Any]]:
    return [{"name": "o.pdf", "format": "pdf", "pdf": options}]


def opened(content: bytes, password: str | None = None) -> pypdf.PdfReader:
    """The PDF as two libraries see it; pypdf without its lock."""
    plain = io.BytesIO()
    with pikepdf.open(io.BytesIO(content), password=password or "") as pdf:
        assert pdf.check_pdf_syntax() == []
        pdf.save(plain)
    return pypdf.PdfReader(plain if password else io.BytesIO(content))


def source(content: bytes) -> dict[str, str]:
    return {"data_base64": base64.b64encode(content).decode()}


@pytest.mark.parametrize(
    ("options", "size_mm"),
    [
        ({"size": "A5"}, (148, 210)),
        ({"size": "letter", "orientation": "landscape"}, (279, 216)),
        ({"orientation": "landscape"}, (297, 210)),
        ({"width_mm": 100, "height_mm": 60}, (100, 60)),
        ({"width_mm": 60, "height_mm": 100, "orientation": "landscape"}, (100, 60)),
    ],
)
def test_a_page_has_its_size(deliver: Deliver, folder: Path, options: dict[str, Any], size_mm: tuple[int, int]) -> None:
    document = opened(stored(deliver(data=invoice(), outputs=outputs(**options)), folder))

    box = document.pages[0].mediabox
    assert (round(float(box.width) / POINTS_PER_MM), round(float(box.height) / POINTS_PER_MM)) == size_mm


def test_a_landscape_template_stays_one_on_other_paper(deliver: Deliver, folder: Path) -> None:
    data = {"title": "C", "issuer": "I", "recipient": "R"}

    document = opened(stored(deliver(template="certificate", data=data, outputs=outputs(size="letter")), folder))

    assert (round(document.pages[0].mediabox.width), round(document.pages[0].mediabox.height)) == (792, 612)


def test_margins_move_the_text(deliver: Deliver, folder: Path) -> None:
    def lefts(**margin: int) -> float:
        content = stored(deliver(data=invoice(), outputs=outputs(margin=margin)), folder)
        places: list[float] = []
        opened(content).pages[0].extract_text(
            visitor_text=lambda text, cm, tm, *_: places.append(tm[4] * cm[0] + cm[4]) if text.strip() else None
        )
        return min(places)

    assert lefts(left_mm=60) - lefts(left_mm=30) == pytest.approx(30 * POINTS_PER_MM, abs=1)


def test_running_texts_say_page_pages_title_and_date(deliver: Deliver, folder: Path) -> None:
    running = {
        "header": {"left": '"Quoted" \\ {title}', "right": "{date}"},
        "footer": {"center": "- {page} / {pages} - \n}"},
    }

    reply = deliver(template="table", data=table(rows=orders(80)), outputs=outputs(**running))

    texts = pdf_texts(stored(reply, folder))
    for number, text in enumerate(texts, start=1):
        assert '"Quoted" \\ Orders' in text
        assert "Nov 22, 2026" in text
        assert f"- {number} / {len(texts)} - }}" in text
        assert "Page" not in text


def test_contents_lead_to_headings_and_bookmarks_are_there(deliver: Deliver, folder: Path) -> None:
    data = table(rows=orders(150), group_by="region")

    document = opened(
        stored(deliver(template="table", data=data, outputs=outputs(contents={"title": "What is in it"})), folder)
    )

    first = document.pages[0].extract_text()
    assert all(each in first for each in ("What is in it", "Orders", "North", "South", "East"))
    assert "4" in first.split("East")[1]
    assert len([each for each in document.pages[0].annotations or () if each.get_object()["/Subtype"] == "/Link"]) >= 4
    flat = str(document.outline)
    assert all(each in flat for each in ("Orders", "North", "South", "East"))


def test_bookmarks_can_be_left_out(deliver: Deliver, folder: Path) -> None:
    document = opened(stored(deliver(data=invoice(), outputs=outputs(bookmarks=False)), folder))

    assert document.outline == []


def test_metadata_is_the_jobs(deliver: Deliver, folder: Path) -> None:
    metadata = {"title": "T", "author": "A (b) \u0644", "subject": "S", "keywords": ["k1", "k2"]}

    found = opened(stored(deliver(data=invoice(), outputs=outputs(metadata=metadata)), folder)).metadata

    assert found is not None
    assert (found.title, found.author, found.subject) == ("T", "A (b) \u0644", "S")
    assert found.get("/Keywords") == "k1, k2"


@pytest.mark.parametrize("name", ["Rechnung März 2026.xml", "請求書.xml", "invoice 1042.xml", "a(b)\u00ad[c].xml"])
def test_an_embedded_file_has_a_name_in_any_language(deliver: Deliver, folder: Path, name: str) -> None:
    attachment = {"name": name, "source": source(b"<Invoice/>")}

    content = stored(deliver(data=invoice(), outputs=outputs(attachments=[attachment])), folder)

    assert opened(content).attachments == {name: [b"<Invoice/>"]}
    with pikepdf.open(io.BytesIO(content)) as pdf:
        assert [each.filename for each in pdf.attachments.values()] == [name]


def test_a_file_is_embedded(deliver: Deliver, folder: Path) -> None:
    attachment = {"name": "e-invoice.xml", "source": source(b"<Invoice/>"), "description": "d", "relationship": "data"}

    content = stored(deliver(data=invoice(), outputs=outputs(attachments=[attachment], variant="pdf/a-3b")), folder)

    assert opened(content).attachments == {"e-invoice.xml": [b"<Invoice/>"]}
    with pikepdf.open(io.BytesIO(content)) as pdf:
        file = pdf.Root.AF[0]
        assert (str(file.AFRelationship), str(file.UF)) == ("/Data", "e-invoice.xml")


def test_a_watermark_is_under_every_page(deliver: Deliver, folder: Path) -> None:
    def made(**options: Any) -> list[str]:
        return pdf_texts(
            stored(deliver(template="table", data=table(rows=orders(80)), outputs=outputs(**options)), folder)
        )

    marked, plain = made(watermark={"text": "DRAFT <&>"}), made()

    assert len(marked) == len(plain) >= 2
    assert all("DRAFT<&>" in text.replace(" ", "") for text in marked)


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_a_picture_of_the_store_is_under_every_page(deliver: Deliver, folder: Path, kind: str) -> None:
    uploaded(folder, "logo").write_bytes({"png": png(), "svg": SVG}[kind])
    data = table(rows=orders(80))

    content = stored(
        deliver(
            template="table", data=data, outputs=outputs(watermark={"source": {"key": "uploads/logo"}, "opacity": 1})
        ),
        folder,
    )

    pages = pypdfium2.PdfDocument(content)
    assert len(pages) >= 2
    for page in pages:
        shown = page.render().to_pil()
        assert (255, 0, 0) in {shown.getpixel((shown.width // 2, shown.height // 2 + y)) for y in range(-20, 20)}


def test_a_watermark_shows_through_the_shading_of_rows(deliver: Deliver, folder: Path) -> None:
    uploaded(folder, "logo").write_bytes(png())
    mark = {"source": {"key": "uploads/logo"}, "opacity": 1}

    content = stored(deliver(template="table", data=table(rows=orders(80)), outputs=outputs(watermark=mark)), folder)

    shown = pypdfium2.PdfDocument(content)[0].render().to_pil()
    left, top = shown.width // 2 - 30, shown.height // 2 - 30  # inside the picture, some five rows high
    lines = [[shown.getpixel((left + x, top + y)) for x in range(60)] for y in range(60)]
    assert all(any(red > 200 and green < 40 for red, green, _ in line) for line in lines)


def test_a_watermark_is_a_text_or_a_picture(deliver: Deliver) -> None:
    reply = deliver(data=invoice(), outputs=outputs(watermark={"opacity": 1}))

    assert "exactly one of text and source is expected" in reply["detail"]


@pytest.mark.parametrize(
    "content", [b"no picture", b"<svg", b"<p/>", png()[:60]], ids=["text", "cut", "html", "cut png"]
)
def test_what_is_no_picture_is_refused_by_its_place(deliver: Deliver, content: bytes) -> None:
    reply = deliver(data=invoice(), outputs=outputs(watermark={"source": source(content)}))

    assert (reply["outcome"], reply["type"].rpartition("/")[2]) == ("failed", "source-refused")
    assert [each["pointer"] for each in reply["errors"]] == ["#/outputs/0/pdf/watermark/source"]
    assert "must be a PNG, JPEG, GIF, WebP or SVG picture" in reply["detail"]


@pytest.mark.parametrize(
    ("variant", "mark"),
    [
        ("pdf/a-2b", '<pdfaid:part>2</pdfaid:part>|pdfaid:part="2"'),
        ("pdf/a-3b", '<pdfaid:part>3</pdfaid:part>|pdfaid:part="3"'),
        ("pdf/ua-1", '<pdfuaid:part>1</pdfuaid:part>|pdfuaid:part="1"'),
    ],
)
def test_a_variant_says_so_and_has_what_it_needs(deliver: Deliver, folder: Path, variant: str, mark: str) -> None:
    content = stored(deliver(data=invoice(), outputs=outputs(variant=variant)), folder)

    with pikepdf.open(io.BytesIO(content)) as pdf:
        xmp = pdf.Root.Metadata.read_bytes().decode()
        assert any(each in xmp for each in mark.split("|"))
        fonts = [font for page in pdf.pages for font in page.Resources.Font.values()]
        assert all("/FontFile" in str(font.DescendantFonts[0].FontDescriptor.keys()) for font in fonts)
        if variant == "pdf/ua-1":
            assert pdf.Root.MarkInfo.Marked
            assert str(pdf.Root.Lang) == "en"
            assert pdf.Root.ViewerPreferences.DisplayDocTitle
        else:
            assert pdf.Root.OutputIntents[0].S == "/GTS_PDFA1"
            assert pdf.trailer.ID is not None


@pytest.mark.parametrize(
    ("options", "detail"),
    [
        ({"variant": "pdf/a-2b", "encryption": {"password": "x"}}, "encryption expects no variant"),
        ({"variant": "pdf/ua-1", "after": [{"key": "a.pdf"}]}, "before and after expect no variant"),
        ({"variant": "pdf/a-2b", "attachments": [{"name": "a", "source": {"key": "a"}}]}, "pdf/a-3b or none"),
        ({"width_mm": 100}, "a page is given by size, or by width_mm and height_mm together"),
        ({"size": "A4", "width_mm": 100, "height_mm": 100}, "a page is given by size, or by"),
    ],
)
def test_options_that_contradict_each_other_are_named(deliver: Deliver, options: dict[str, Any], detail: str) -> None:
    reply = deliver(data=invoice(), outputs=outputs(**options))

    assert detail in reply["detail"]
    assert [each["pointer"] for each in reply["errors"]] == ["#/outputs/0/pdf"]


def test_a_locked_pdf_opens_with_its_password_and_has_its_rights(deliver: Deliver, folder: Path) -> None:
    lock = {"password": "open sesame", "owner_password": "owner", "allow": ["print"]}

    content = stored(deliver(data=invoice(), outputs=outputs(encryption=lock)), folder)

    with pytest.raises(pikepdf.PasswordError):
        pikepdf.open(io.BytesIO(content))
    assert "2026-1042" in opened(content, "open sesame").pages[0].extract_text()
    with pikepdf.open(io.BytesIO(content), password="open sesame") as pdf:
        assert (pdf.allow.print_highres, pdf.allow.extract, pdf.allow.modify_other) == (True, False, False)
        assert pdf.allow.accessibility
        assert (pdf.encryption.R, pdf.encryption.stream_method.name) == (6, "aesv3")


def test_other_pdfs_join_before_and_after(deliver: Deliver, folder: Path) -> None:
    part = stored(
        deliver(
            template="letter", data={"sender": {"name": "Part"}, "recipient": {"name": "R"}, "written": "2026-01-01"}
        ),
        folder,
    )
    uploaded(folder, "terms.pdf").write_bytes(part)

    reply = deliver(
        data=invoice(), outputs=outputs(before=[{"key": "uploads/terms.pdf"}], after=[source(part), source(part)])
    )

    texts = pdf_texts(stored(reply, folder))
    assert (reply["pages"], reply["artifacts"][0]["pages"]) == (4, 4)
    assert ["Invoice" in text for text in texts] == [False, True, False, False]
    assert opened(stored(reply, folder)).metadata.title == "Invoice 2026-1042"  # type: ignore[union-attr]


def test_what_a_joined_pdf_would_do_by_itself_is_taken_out(deliver: Deliver, folder: Path) -> None:
    content = io.BytesIO()
    with pikepdf.new() as pdf:
        page = pdf.add_blank_page()
        script = pikepdf.Dictionary(S=pikepdf.Name.JavaScript, JS="app.alert(1)")
        page.obj.AA = pikepdf.Dictionary(O=script)
        link = pikepdf.Dictionary(Type=pikepdf.Name.Annot, Subtype=pikepdf.Name.Link, Rect=[0, 0, 9, 9], A=script)
        page.obj.Annots = pikepdf.Array([pdf.make_indirect(link)])
        pdf.Root.OpenAction = script
        pdf.save(content)

    made = stored(deliver(data=invoice(), outputs=outputs(after=[source(content.getvalue())])), folder)

    with pikepdf.open(io.BytesIO(made)) as pdf:
        assert not any("JavaScript" in repr(each) for each in pdf.objects)


def locked() -> bytes:
    content = io.BytesIO()
    with pikepdf.new() as pdf:
        pdf.add_blank_page()
        pdf.save(content, encryption=pikepdf.Encryption(user="x", owner="y"))
    return content.getvalue()


def many() -> bytes:
    content = io.BytesIO()
    with pikepdf.new() as pdf:
        for _ in range(61):
            pdf.add_blank_page()
        pdf.save(content)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"hello", "#/outputs/0/pdf/after/0: must be a PDF that can be read"),
        (b"%PDF-1.7\n" + b"\x00" * 100, "#/outputs/0/pdf/after/0: must be a PDF that can be read"),
        (locked(), "#/outputs/0/pdf/after/0: must be a PDF without a password"),
        (many(), "the document must have at most 60 pages, got 62"),
        (b"%PDF" + b"x" * 3_000_001, "#/outputs/0/pdf/after/0: the source must be at most 3000000 bytes"),
    ],
)
def test_what_cannot_be_joined_is_refused_by_its_place(deliver: Deliver, content: bytes, detail: str) -> None:
    reply = deliver(data=invoice(), outputs=outputs(after=[source(content)]))

    assert reply["outcome"] == "failed"
    assert detail in reply["detail"]


@pytest.mark.parametrize("variant", [None, "pdf/a-2b", "pdf/a-3b", "pdf/ua-1"])
def test_the_same_job_gives_the_same_bytes_in_every_variant(tmp_path: Path, variant: str | None) -> None:
    def made(store: Path) -> bytes:
        options: dict[str, Any] = {"variant": variant} if variant else {"after": [source(many())]}
        with serving(store) as deliver:
            return stored(deliver(data=invoice(), outputs=outputs(**options, watermark={"text": "X"})), store)

    assert made(tmp_path / "a") == made(tmp_path / "b")
