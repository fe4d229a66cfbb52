"""How large a source may be, what is counted of it, and a JPEG whose last bytes are missing."""

import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image

from tests.functions.image.test_image import (
    CORNERS,
    PHOTO,
    Client,
    client,
    close,
    corners,
    encoded,
    made,
    opened,
    output,
    quarters,
    request,
    response,
)
from tests.functions.image.test_image_limits import failed, inline

__all__ = ["client"]  # the fixture


def claimed(width_px: int, height_px: int, *, alpha: bool = False) -> bytes:
    """A PNG of that many pixels, all of them there, of one colour."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    row = bytes(1 + width_px * (4 if alpha else 1))
    packer, parts = zlib.compressobj(1), []
    parts = [packer.compress(row) for _ in range(height_px)]
    header = struct.pack(">2I5B", width_px, height_px, 8, 6 if alpha else 0, 0, 0, 0)
    pixels = b"".join(parts) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.slow
@pytest.mark.parametrize("size_px", [(8_160, 6_144), (8_192, 6_144), (16_000, 6_250)])
def test_the_pictures_of_large_phones_and_panoramas_are_taken_by_default(
    client: Client, size_px: tuple[int, int]
) -> None:
    headers, data = response(client(), request(inline(claimed(*size_px)), outputs=[{"name": "a.jpg", "width_px": 400}]))

    assert headers["ce-outcome"] == "completed", data
    assert (data["source"]["width_px"], data["source"]["height_px"]) == size_px


@pytest.mark.slow
def test_one_pixel_row_over_the_default_is_refused(client: Client) -> None:
    problem = failed(client(), source=inline(claimed(10_000, 10_001)))

    assert problem["detail"] == "the source must have 1 to 100000000 pixels, got 10000 x 10001 pixels"


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{"width_px": 800}, {}], ids=["small", "whole"])
def test_as_many_pixels_as_the_default_takes_fit_into_the_default_of_memory(
    client: Client, fields: dict[str, Any]
) -> None:
    content = claimed(10_000, 10_000, alpha=True)

    headers, data = response(
        client(TIMEOUT_S="120", CPU_LIMIT_S="60"), request(inline(content), outputs=[{"name": "a.jpg", **fields}])
    )

    assert headers["ce-outcome"] == "completed", data


def test_an_encoder_without_memory_is_a_lack_of_memory_and_not_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("broken data stream when writing image file")

    content = encoded(quarters(), "PNG")
    monkeypatch.setattr(Image.Image, "save", full)

    with pytest.raises(MemoryError, match="jpeg: broken data stream"):
        made(content, output(format="jpeg"))


def test_of_a_jpeg_counts_what_is_decoded() -> None:
    content = encoded(quarters(1600, 1200), "JPEG", quality=95)

    (small,) = made(content, output(width_px=100), pixels_limit=100_000).made

    assert close(corners(opened(small)), CORNERS)
    with pytest.raises(ValueError, match="1 to 100000 pixels, got 1600 x 1200 pixels, decoded as 800 x 600"):
        made(content, output(width_px=400), pixels_limit=100_000)
    with pytest.raises(ValueError, match=r"1 to 100000 pixels, got 1600 x 1200 pixels$"):
        made(content, output(name="a", width_px=100), output(name="b"), pixels_limit=100_000)


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "TIFF", "GIF", "AVIF"])
def test_of_all_else_every_pixel_counts(format_: str) -> None:
    with pytest.raises(ValueError, match="1 to 100000 pixels, got 1600 x 1200 pixels"):
        made(encoded(quarters(1600, 1200), format_), output(width_px=200), pixels_limit=100_000)


# --- a JPEG without its end


def photograph(mode: str = "RGB") -> Image.Image:
    return Image.open(io.BytesIO(PHOTO)).convert(mode).resize((203, 149))


JPEGS: dict[str, bytes] = {
    "baseline": encoded(photograph(), "JPEG", quality=90),
    "progressive": encoded(photograph(), "JPEG", quality=90, progressive=True),
    "optimized": encoded(photograph(), "JPEG", quality=60, optimize=True, subsampling="4:4:4"),
    "grey": encoded(photograph("L"), "JPEG", quality=90),
    "cmyk": encoded(photograph("CMYK"), "JPEG", quality=90),
    "restarts": encoded(photograph(), "JPEG", quality=90, restart_marker_rows=1),
    "flat": encoded(Image.new("RGB", (100, 100), (9, 9, 9)), "JPEG"),
}


@pytest.mark.parametrize("content", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize("fields", [{}, {"width_px": 25}])
def test_a_jpeg_that_lacks_only_the_mark_of_its_end_is_taken_as_it_is(content: bytes, fields: dict[str, Any]) -> None:
    whole, endless = (made(each, output(**fields)).made[0] for each in (content, content[:-2]))

    small = bool(fields)
    most = 12 if small else 0  # a small picture is made of all its pixels then, not of an eighth
    for box in ((0, 0), (whole.width_px - 1, whole.height_px - 1), (whole.width_px // 2, whole.height_px // 3)):
        assert close(opened(endless).getpixel(box), opened(whole).getpixel(box), most=most)
    assert small or opened(endless).tobytes() == opened(whole).tobytes()


@pytest.mark.parametrize("content", [JPEGS[each] for each in list(JPEGS)[:6]], ids=list(JPEGS)[:6])
@pytest.mark.parametrize("lost_bytes", [9, 40, 400, 1500])
@pytest.mark.parametrize("fields", [{}, {"width_px": 25}])
def test_a_jpeg_that_lacks_pixels_is_refused(content: bytes, lost_bytes: int, fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the source is corrupt or cut short: image file is truncated"):
        made(content[:-lost_bytes], output(**fields))
