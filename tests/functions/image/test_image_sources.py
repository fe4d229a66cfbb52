"""Sources beyond the usual: HEIC, SVG, a page of a PDF; what is refused by its name; hostile ones, in the sandbox."""

import io
import random
import struct
import subprocess
import sys
import zlib
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pikepdf
import pytest
from PIL import Image, ImageChops, ImageStat
from pillow_heif import from_pillow

from functions.image.decoding import open_source
from functions.image.picture import render
from functions.image.task import Crop, Output, Pictures, Task, Watermark
from functions.sandbox.sandbox import Crashed, LimitExceeded, Rejected, ResourceLimits, Sandbox
from tests.functions.image.judges import vips
from tests.functions.image.test_image import (
    CORNERS,
    GREEN,
    PHOTO,
    RED,
    Client,
    client,
    close,
    corners,
    encoded,
    failure,
    made,
    only,
    opened,
    output,
    pixel,
    quarters,
    request,
    response,
)
from tests.functions.image.test_image_animation import apng, drawn_at_random, even, gif, webp
from tests.functions.image.test_image_limits import failed, inline

__all__ = ["client"]  # the fixture

NAMESPACE = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
QUARTERS = """<rect width="32" height="24" fill="#ff0000"/><rect x="32" width="32" height="24" fill="#008000"/>
<rect y="24" width="32" height="24" fill="#ffff00"/><rect x="32" y="24" width="32" height="24" fill="#0000ff"/>"""

PREFIXED = f"""<s:svg xmlns:s="http://www.w3.org/2000/svg" width="64" height="48">
{QUARTERS.replace("<", "<s:")}</s:svg>"""


def svg(inner: str = QUARTERS, attributes: str = 'width="64" height="48"', *, before: str = "") -> bytes:
    return f"{before}<svg {NAMESPACE} {attributes}>{inner}</svg>".encode()


def pdf(*pages: str, box: tuple[float, float] = (48, 36)) -> bytes:
    """Of pages that draw by these operators."""
    document = pikepdf.new()
    for each in pages:
        page = document.add_blank_page(page_size=box)
        page.Contents = document.make_stream(each.encode())
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


DRAWN = "1 0 0 rg 0 18 24 18 re f 0 0.5 0 rg 24 18 24 18 re f 0 0 1 rg 24 0 24 18 re f 1 1 0 rg 0 0 24 18 re f"


def heic(image: Image.Image, **info: Any) -> bytes:
    file = io.BytesIO()
    from_pillow(image).save(file, quality=95, **info)
    return file.getvalue()


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean of all pixels' on white, of 255."""
    flat = []
    for each in (one, other):
        ground = Image.new("RGBA", each.size, "white")
        flat.append(Image.alpha_composite(ground, each.convert("RGBA")).convert("RGB"))
    return sum(ImageStat.Stat(ImageChops.difference(*flat)).mean) / 3


# --- HEIC


@pytest.mark.parametrize("target", ["jpeg", "png", "webp", "avif"])
def test_heic_is_read(target: str) -> None:
    result = made(heic(quarters()), output(format=target, quality=95))

    assert (result.format, result.width_px, result.height_px) == ("heic", 64, 48)
    assert close(corners(opened(result.made[0])), CORNERS, most=24)


@pytest.mark.slow
def test_a_photograph_in_heic_is_what_another_reader_sees() -> None:
    content = heic(Image.open(io.BytesIO(PHOTO)).resize((300, 400)))

    assert difference(only(content), vips(content, ".heic")) < 2


def test_a_heic_is_turned_once_and_keeps_what_is_asked_for() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x013B] = 6, "Ann"
    stored = quarters().transpose(Image.Transpose.ROTATE_90)

    result = made(heic(stored, exif=exif.tobytes()), output(format="jpeg", quality=95, keep=("copyright",)))

    assert (result.width_px, result.height_px) == (64, 48)
    assert close(corners(opened(result.made[0])), CORNERS, most=24)
    assert opened(result.made[0]).getexif()[0x013B] == "Ann"


def test_of_several_pictures_in_a_heic_the_main_one_is_shown() -> None:
    several = from_pillow(Image.new("RGB", (64, 48), GREEN))
    several.add_from_pillow(quarters())
    file = io.BytesIO()
    several.save(file, quality=95, primary_index=1)

    result = made(file.getvalue(), output(format="webp"))

    assert (result.frames, close(corners(opened(result.made[0])), CORNERS, most=24)) == (1, True)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_heic_that_is_cut_short_is_refused(share: float) -> None:
    content = heic(Image.open(io.BytesIO(PHOTO)).resize((150, 200)))

    with pytest.raises(ValueError, match="the source"):
        made(content[: int(len(content) * share)])


# --- SVG


@pytest.mark.parametrize(
    ("attributes", "size_px"),
    [
        ('width="64" height="48"', (64, 48)),
        ('width="64px" height="36pt"', (64, 48)),
        ('width="1in" height="0.75in" viewBox="0 0 64 48"', (96, 72)),
        ('viewBox="0 0 64 48"', (64, 48)),
        ('viewBox="0,0,64,48" width="128"', (128, 96)),
        ('viewBox="0 0 64 48" height="24"', (32, 24)),
        ('viewBox="0 0 64 48" width="100%" height="100%"', (64, 48)),
    ],
)
def test_an_svg_has_the_size_that_it_gives(attributes: str, size_px: tuple[int, int]) -> None:
    result = made(svg(attributes=attributes))

    assert (result.format, result.width_px, result.height_px) == ("svg", *size_px)
    assert (result.made[0].width_px, result.made[0].height_px) == size_px
    assert close(corners(opened(result.made[0])), CORNERS)


@pytest.mark.parametrize("content", [svg(), pdf(DRAWN)], ids=["svg", "pdf"])
def test_what_has_no_pixels_is_drawn_as_large_as_it_is_asked_for_and_stays_sharp(content: bytes) -> None:
    small, large = made(content, output(name="a", width_px=16), output(name="b", width_px=1600)).made

    assert (small.width_px, small.height_px, large.width_px, large.height_px) == (16, 12, 1600, 1200)
    assert close(corners(opened(small)), CORNERS)
    assert pixel(opened(large).convert("RGB"), 797, 300) == RED
    assert pixel(opened(large).convert("RGB"), 803, 300) == GREEN


@pytest.mark.slow
def test_an_svg_is_cropped_in_its_own_pixels_and_drawn_at_the_size_of_the_crop() -> None:
    picture = only(svg(), crop=Crop(x_px=31, y_px=0, width_px=2, height_px=2), width_px=400)

    assert picture.size == (400, 400)
    assert close((pixel(picture, 195, 100)[:3], pixel(picture, 205, 100)[:3]), (RED, GREEN))


def test_an_svg_is_transparent_where_it_draws_nothing() -> None:
    picture = only(svg('<circle cx="32" cy="24" r="10" fill="#ff000080"/>'))

    assert (pixel(picture, 0, 0)[3], pixel(picture, 32, 24)) == (0, (255, 0, 0, 128))


@pytest.mark.parametrize(
    "content",
    [
        svg(before='<?xml version="1.0" encoding="UTF-8"?>\n<!-- Ö -->\n'),
        svg(before='<!DOCTYPE svg [<!ENTITY ns "http://ns.example">]>', inner=f'<g id="&ns;">{QUARTERS}</g>'),
        svg().decode().encode("utf-16"),
        ('<?xml version="1.0" encoding="ISO-8859-1"?><!-- é -->' + svg().decode()).encode("latin-1"),
        b"\xef\xbb\xbf" + svg(),
        PREFIXED.encode(),
        svg("<script>throw 1</script>" + QUARTERS),
        svg('<a xlink:href="https://example.org">' + QUARTERS + "</a>"),
        svg(f'<defs><g id="q">{QUARTERS}</g></defs><use xlink:href="#q"/>'),
    ],
    ids=["declared", "entities", "utf-16", "latin-1", "bom", "prefix", "script", "link", "use"],
)
def test_svg_as_programs_write_it_is_read(content: bytes) -> None:
    assert close(corners(only(content)), CORNERS)


@pytest.mark.slow
def test_a_drawing_is_what_another_program_draws() -> None:
    content = svg(
        '<defs><linearGradient id="g"><stop stop-color="#d00"/><stop offset="1" stop-color="#00d"/></linearGradient>'
        '<clipPath id="c"><circle cx="200" cy="150" r="120"/></clipPath></defs>'
        '<rect width="400" height="300" fill="url(#g)" clip-path="url(#c)"/>'
        '<path d="M40 40 C 120 0 200 300 360 260" stroke="#0a0" stroke-width="12" fill="none" stroke-dasharray="30 9"/>'
        '<text x="40" y="280" font-family="DejaVu Sans" font-size="40">Grüße</text>',
        'width="400" height="300"',
    )

    assert difference(only(content), vips(content, ".svg")) < 2
    assert difference(only(content), only(svg("", 'width="400" height="300"'))) > 20


def test_a_picture_within_an_svg_is_shown() -> None:
    inner = b64encode(encoded(quarters(), "PNG")).decode()

    assert close(corners(only(svg(f'<image width="64" height="48" href="data:image/png;base64,{inner}"/>'))), CORNERS)


@pytest.mark.parametrize("scheme", ["base64", "utf8"])
def test_an_svg_within_an_svg_shows_no_other_file(tmp_path: Path, scheme: str) -> None:
    (tmp_path / "secret.png").write_bytes(encoded(Image.new("RGB", (64, 48), RED), "PNG"))
    inner = svg(f'<image width="64" height="48" href="{tmp_path}/secret.png"/>')
    told = b64encode(inner).decode() if scheme == "base64" else quote(inner)

    picture = only(svg(f'<image width="64" height="48" href="data:image/svg+xml;{scheme},{told}"/>'))

    assert pixel(picture, 32, 24)[3] == 0


def test_an_svg_as_a_watermark_is_drawn_at_its_size() -> None:
    mark = svg('<rect width="4" height="4" fill="#ff0000"/>', 'width="8" height="4"')
    task = Task(
        outputs=(output(watermark=Watermark(key="m", scale=1.0, position="top-left")),),
        pixels_limit=1_000_000,
        frames_limit=1,
        watermarks={"m": mark},
    )
    picture = opened(render(task, io.BytesIO(encoded(Image.new("RGB", (800, 400), GREEN), "PNG"))).made[0])

    assert (pixel(picture, 398, 10), pixel(picture, 402, 10)) == (RED, GREEN)


# --- PDF


def test_a_pdf_is_drawn_on_white_at_96_pixels_an_inch() -> None:
    result = made(pdf(DRAWN, "1 0 0 rg 0 0 12 12 re f"))

    assert (result.format, result.width_px, result.height_px, result.frames) == ("pdf", 64, 48, 1)
    assert close(corners(opened(result.made[0])), CORNERS)


@pytest.mark.slow
def test_another_page_can_be_asked_for(client: Client) -> None:
    content = pdf(DRAWN, "0 0.5 0 rg 0 0 12 12 re f", box=(12, 12))

    _, data = response(client(), request(inline(content), page=2))
    kind, detail = failure(client(), {**request(inline(content), page=3), "id": "another"})

    assert (data["source"]["format"], data["source"]["dominant_color"]) == ("pdf", "#008000")
    assert (kind, detail) == ("source-refused", "the source must have a page 3, got 2 pages")


def test_a_page_is_what_another_program_draws() -> None:
    document = pikepdf.open(io.BytesIO(pdf(DRAWN, box=(300, 200))))
    font = pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
    document.pages[0].Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F=font))
    text = b" BT /F 24 Tf 60 120 Td (Rechnung 42) Tj ET"
    document.pages[0].Contents = document.make_stream(DRAWN.encode() + text)
    document.pages[0].Rotate = 90
    file = io.BytesIO()
    document.save(file)

    drawn = only(file.getvalue())

    assert drawn.size == (267, 400)
    assert difference(drawn, vips(file.getvalue(), ".pdf", "[dpi=96]").resize(drawn.size)) < 3


def test_a_locked_pdf_is_refused() -> None:
    document, file = pikepdf.open(io.BytesIO(pdf(DRAWN))), io.BytesIO()
    document.save(file, encryption=pikepdf.Encryption(user="secret", owner="secret"))

    with pytest.raises(ValueError, match=r"the source is corrupt, cut short or locked: .*password"):
        made(file.getvalue())


# --- by name


def brands(*names: bytes) -> bytes:
    return struct.pack(">I4s", 16 + 4 * (len(names) - 1), b"ftyp") + names[0] + bytes(4) + b"".join(names[1:])


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (brands(b"isom", b"iso2", b"mp41"), "a video, MP4"),
        (brands(b"qt  "), "a video, QuickTime"),
        (brands(b"crx ", b"isom"), "a camera's RAW file, Canon CR3"),
        (brands(b"heic", b"mif1"), "HEIC"),
        (brands(b"mif1", b"heic"), "HEIC"),
        (brands(b"mif1", b"avif"), "AVIF"),
        (b"\x1a\x45\xdf\xa3" + bytes(40), "a video, Matroska or WebM"),
        (b"RIFF\0\0\0\0AVI LIST", "a video, AVI"),
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(40), "a camera's RAW file, Canon CR2"),
        (b"FUJIFILMCCD-RAW 0201" + bytes(40), "a camera's RAW file, Fujifilm RAF"),
        (b"IIRO\x08\0\0\0" + bytes(40), "a camera's RAW file, Olympus ORF"),
        (b"IIU\0\x18\0\0\0" + bytes(40), "a camera's RAW file, Panasonic RW2"),
        (b"8BPS\0\x01" + bytes(40), "Photoshop PSD"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"<!DOCTYPE html><title>not found</title><svg></svg>", "an HTML page"),
        (b"PK\x03\x04" + bytes(40), "a ZIP archive, as of an office document"),
        (b"%PDF-1.7 nothing", "PDF"),
        (svg(), "SVG"),
        (encoded(quarters(), "GIF"), "GIF"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_read_is_named(client: Client, content: bytes, name: str) -> None:
    problem = failed(client(SOURCE_FORMATS="png"), source=inline(content))

    assert problem["type"] == "source-refused"
    start = content[:8].hex(" ")
    assert problem["detail"] == f"the source must be PNG with a sound header, got a file of {start}... ({name})"


def raw(tags: dict[int, Any]) -> bytes:
    return encoded(quarters(), "TIFF", tiffinfo={0x010F: "NIKON CORPORATION", **tags})


@pytest.mark.parametrize(
    "tags", [{254: 1, 330: 8}, {50_706: b"\x01\x04\0\0"}], ids=["a thumbnail before the picture", "dng"]
)
def test_raw_that_begins_as_a_tiff_is_refused_and_not_taken_for_its_thumbnail(tags: dict[int, Any]) -> None:
    with pytest.raises(ValueError, match=r"got a camera's RAW file \(NIKON CORPORATION\)"):
        made(raw(tags))
    assert close(corners(only(raw({}))), CORNERS)


# --- hostile ones, behind the walls


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(preload=("functions.image.picture",)) as made_here:
        yield made_here


def drawn_within(sandbox: Sandbox, content: bytes, memory_bytes: int = 1 << 30, **fields: Any) -> Pictures:
    task = Task(
        outputs=(Output(**{"name": "a", "format": "jpeg", **fields}),), pixels_limit=100_000_000, frames_limit=9
    )
    limits = ResourceLimits(timeout_s=20, cpu_s=6, memory_bytes=memory_bytes)
    return sandbox.run("functions.image.picture:render", task, content, result=Pictures, limits=limits)


def test_no_decoder_of_what_is_rare_is_loaded_before_it_comes() -> None:
    look = "import sys, functions.image.picture as _; print([m for m in sys.argv[1:] if m in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", look, "pillow_heif", "resvg_py", "pypdfium2"], capture_output=True, text=True, check=True
    )

    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "content",
    [heic(quarters()), svg(QUARTERS + "<text y='9'>a</text>"), pdf(DRAWN)],
    ids=["heic", "svg", "pdf"],
)
def test_each_decoder_is_loaded_and_works_behind_the_walls(sandbox: Sandbox, content: bytes) -> None:
    (picture,) = drawn_within(sandbox, content, quality=95).made

    assert close(corners(opened(picture)), CORNERS, most=24)


def nested(count: int) -> bytes:
    return svg("<g>" * count + "</g>" * count)


def laughing(name: str = "z") -> bytes:
    entities = '<!ENTITY a "ha">' + "".join(
        f'<!ENTITY {each} "{("&" + before + ";") * 10}">'
        for before, each in zip("abcdefghij", "bcdefghijz", strict=True)
    )
    return svg(f"<text>&{name};</text>", before=f"<!DOCTYPE svg [{entities}]>")


def multiplied(depth: int) -> bytes:
    groups = (f'<g id="a{each}">' + f'<use href="#a{each - 1}"/>' * 10 + "</g>" for each in range(1, depth))
    return svg(f'<defs><rect id="a0" width="9" height="9"/>{"".join(groups)}</defs><use href="#a{depth - 1}"/>')


HOSTILE = {
    "depth": (nested(100_000), "at most 200000 elements, and at most 200 in one another"),
    "entities": (laughing(), "corrupt or cut short: .*amplification"),
    "itself": (svg("<text>&a;</text>", before='<!DOCTYPE svg [<!ENTITY a "&a;">]>'), "recursive entity"),
    "external entity": (
        svg("<text>&a;</text>", before='<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/hostname">]>'),
        "the source is corrupt or cut short: unknown entity reference",
    ),
    "file": (svg('<image href="/usr/share/pixmaps/debian-logo.png"/>'), "refers to '/usr/share/pixmaps"),
    "url": (svg('<image xlink:href="http://127.0.0.1/a.png"/>'), "refers to 'http://127.0.0.1/a.png'"),
    "file url": (svg('<use href="file:///etc/passwd#a"/>'), "refers to 'file:///etc/passwd#a'"),
    "filter": (svg('<filter><feImage href="logo.png"/></filter>'), "an element feImage that refers to 'logo.png'"),
    "sides": (svg("", 'width="1e7" height="1e7"'), "1 to 100000000 pixels, got 10000000 x 10000000"),
    "uses": (multiplied(9), "limit"),
    "page": (pdf(DRAWN, box=(14_400, 14_400)), "1 to 100000000 pixels, got 19200 x 19200 pixels"),
    "no pages": (pdf(), "corrupt, cut short or locked"),
    "cut pdf": (pdf(DRAWN)[:300], "corrupt, cut short or locked"),
    "cut svg": (svg()[:200], "corrupt or cut short"),
    "not svg": (b"<?xml version='1.0'?><a><svg width='9' height='9'/></a>", "must begin with the element svg, got a"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("content", "detail"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_drawing_is_refused(sandbox: Sandbox, content: bytes, detail: str) -> None:
    with pytest.raises(Rejected, match=detail):
        drawn_within(sandbox, content)


def heavy_picture() -> bytes:
    """A page that shows a picture of 400 megapixels, of a few hundred kilobytes."""
    document = pikepdf.open(io.BytesIO(pdf("48 0 0 36 0 0 cm /I Do")))
    told = {"Type": pikepdf.Name.XObject, "Subtype": pikepdf.Name.Image, "Filter": pikepdf.Name.FlateDecode}
    sides = {"Width": 20_000, "Height": 20_000, "BitsPerComponent": 8, "ColorSpace": pikepdf.Name.DeviceGray}
    picture = document.make_stream(zlib.compress(bytes(400_000_000), 1), **told, **sides)
    document.pages[0].Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(I=picture))
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


SLOW = {
    "filters": svg(
        '<filter id="f"><feTurbulence numOctaves="99" baseFrequency="0.9"/><feMorphology radius="300"/></filter>'
        '<rect width="4000" height="4000" filter="url(#f)"/>',
        'width="4000" height="4000"',
    ),
    "a page without end": pdf("0 0 48 36 re f " * 400_000 + "0 0 m " + "48 36 l 0 9 l " * 400_000 + "S"),
    "a large picture": heavy_picture(),
}


@pytest.mark.slow
@pytest.mark.parametrize("content", SLOW.values(), ids=SLOW)
def test_a_heavy_drawing_ends_within_the_limits(sandbox: Sandbox, content: bytes) -> None:
    try:
        result = drawn_within(sandbox, content, memory_bytes=300 << 20)
    except (Rejected, LimitExceeded):
        return
    except Crashed as crashed:
        assert crashed.code is not None  # the decoder's end, not a fault of ours  # noqa: PT017
        return
    assert len(result.made) == 1


@pytest.mark.slow
def test_a_drawing_has_a_limit_of_pixels_beyond_which_it_is_enlarged() -> None:
    task = Task(outputs=(), pixels_limit=100_000_000, frames_limit=1)
    source = open_source(io.BytesIO(svg(attributes='width="64" height="64"')), task)

    (frame,) = source.decoded(needed_scale=1_000, all_frames=False)

    assert (frame.image.size, frame.scale) == ((5_000, 5_000), 5_000 / 64)


MUTATED = {
    **{each: encoded(quarters(), each.upper()) for each in ("jpeg", "png", "webp", "gif", "tiff", "avif", "bmp")},
    "moving gif": gif(drawn_at_random(1, holes=True)),
    "moving png": apng(drawn_at_random(2, holes=True)),
    "moving webp": webp(even(drawn_at_random(3, holes=True))),
    "heic": heic(quarters()),
    "svg": svg(QUARTERS + "<text y='9'>a</text>", before='<!DOCTYPE svg [<!ENTITY a "b">]>'),
    "pdf": pdf(DRAWN),
}


@pytest.mark.slow
@pytest.mark.parametrize("content", MUTATED.values(), ids=MUTATED)
def test_a_mutated_file_of_any_format_is_drawn_or_refused_and_never_a_fault_of_ours(
    sandbox: Sandbox, content: bytes
) -> None:
    dice = random.Random(len(content))  # noqa: S311  # files, not secrets
    for _ in range(25):
        mutated = bytearray(content)
        for _ in range(dice.randint(1, 6)):
            mutated[dice.randrange(len(mutated))] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        try:
            drawn_within(sandbox, bytes(mutated), format="webp", keep=("exif", "icc"))
        except (Rejected, LimitExceeded):
            continue
        except Crashed as crashed:
            assert crashed.code is not None, crashed.failure_report  # noqa: PT017  # a decoder's end is its own
