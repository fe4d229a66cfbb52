"""Texts and colours that go along, or are applied, as other programs read them."""

import io
import struct
from typing import Any

import pytest
from PIL import Image, ImageCms
from PIL.ExifTags import IFD, Base

from functions.image import heic
from tests.functions.image.judges import exiftool
from tests.functions.image.test_image import close, encoded, made, only, opened, output, pixel, quarters

ARTIST, COPYRIGHT, OWNER, LENS = "Łukasz Żółć, 森", "© 2019 Zoë Ångström", "Åsa Öberg", "Ωmega 50 mm ƒ/2"


def exif_block(order: str = "<") -> bytes:
    """EXIF with its texts in UTF-8, as cameras and exiftool write them; nothing of Pillow's writes it."""
    shot_at = 8 + ifd_bytes(3)
    data_at = shot_at + ifd_bytes(2)
    texts = (ARTIST, COPYRIGHT, OWNER, LENS)
    values = [text.encode() + b"\0" for text in texts]
    places = [data_at + sum(map(len, values[:index])) for index in range(len(values))]
    artist, copyright_, owner, lens = (
        struct.pack(order + "HII", 2, len(v), at) for v, at in zip(values, places, strict=True)
    )
    main = [(0x013B, artist), (0x8298, copyright_)]
    main.append((0x8769, struct.pack(order + "HII", 4, 1, shot_at)))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return b"Exif\0\0" + head + ifd(order, main) + ifd(order, [(0xA430, owner), (0xA434, lens)]) + b"".join(values)


def ifd_bytes(entries: int) -> int:
    return 2 + 12 * entries + 4


def ifd(order: str, entries: list[tuple[int, bytes]]) -> bytes:
    content = b"".join(struct.pack(order + "H", tag) + rest for tag, rest in entries)
    return struct.pack(order + "H", len(entries)) + content + bytes(4)


TAGS = ("Artist", "Copyright", "OwnerName", "LensModel")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("origin", "target", "order"),
    [
        *(("JPEG", target, "<") for target in ("jpeg", "png", "webp", "avif", "tiff")),
        *((origin, "jpeg", ">") for origin in ("JPEG", "PNG", "WEBP", "AVIF", "HEIF")),
    ],
)
def test_the_letters_of_kept_texts_are_those_of_the_source_in_every_format(
    origin: str, target: str, order: str
) -> None:
    heic.register()
    content = encoded(quarters(), origin, exif=exif_block(order))
    assert exiftool(content, *TAGS) == dict(zip(TAGS, (ARTIST, COPYRIGHT, OWNER, LENS), strict=True))

    names, all_of_it = made(
        content, output(format=target, keep=("copyright",)), output(name="b", format=target, keep=("exif",))
    ).made

    assert exiftool(names.content, *TAGS) == {"Artist": ARTIST, "Copyright": COPYRIGHT}
    assert exiftool(all_of_it.content, *TAGS) == exiftool(content, *TAGS)


def test_the_texts_of_a_tiff_are_kept_as_well() -> None:
    tags = {Base.Artist: ARTIST.encode(), Base.Copyright: COPYRIGHT.encode()}
    content = encoded(quarters(), "TIFF", tiffinfo=tags)
    assert exiftool(content, "Artist", "Copyright") == {"Artist": ARTIST, "Copyright": COPYRIGHT}

    picture = made(content, output(format="jpeg", keep=("copyright",))).made[0]

    assert exiftool(picture.content, "Artist", "Copyright") == {"Artist": ARTIST, "Copyright": COPYRIGHT}


def test_texts_of_latin_1_keep_their_bytes() -> None:
    exif = Image.Exif()
    exif[Base.Artist] = "J?rgen"
    block = exif.tobytes().replace(b"J?rgen", "Jürgen".encode("latin-1"))

    picture = made(encoded(quarters(), "JPEG", exif=block), output(format="jpeg", keep=("copyright",))).made[0]

    assert "Jürgen\0".encode("latin-1") in picture.content


@pytest.mark.slow
@pytest.mark.parametrize("target", ["jpeg", "png", "webp", "avif", "tiff"])
def test_what_is_no_text_is_kept_as_it_was(target: str) -> None:
    exif = Image.Exif()
    exif[Base.Make] = "Kamera"
    exif[IFD.Exif] = {Base.ExposureTime: 0.008, Base.ISOSpeedRatings: 200, Base.UserComment: b"ASCII\0\0\0hello"}
    exif[IFD.GPSInfo] = {1: "N", 2: (52.0, 30.0, 12.5), 3: "E", 4: (13.0, 24.0, 0.0)}
    content = encoded(quarters(), "JPEG", exif=exif)
    tags = ("Make", "ExposureTime", "ISO", "UserComment", "GPSLatitude", "GPSLongitude")

    picture = made(content, output(format=target, keep=("exif", "gps"))).made[0]

    assert exiftool(picture.content, *tags) == exiftool(content, *tags)
    assert set(exiftool(content, *tags)) == set(tags)


# --- the profile of a grey picture


def grey_profile(gamma: float = 1.0) -> bytes:
    """An ICC profile (version 2) of grey: its white, and the curve of its one channel."""
    text = b"desc\0\0\0\0\0\0\0\x05grey\0" + bytes(78)
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63_190, 65_536, 54_061)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags, data, at = b"", b"", 128 + 4 + 12 * 4
    for name, told in ((b"desc", text), (b"cprt", b"text\0\0\0\0none\0"), (b"wtpt", white), (b"kTRC", curve)):
        content = told + bytes(-len(told) % 4)
        tags += struct.pack(">4sII", name, at, len(content))
        data, at = data + content, at + len(content)
    head = struct.pack(">I4s4s4s4s4s", at, bytes(4), b"\x02\x10\0\0", b"mntr", b"GRAY", b"XYZ ") + bytes(12) + b"acsp"
    head += bytes(128 - len(head) - 60) + struct.pack(">3i", 63_190, 65_536, 54_061)
    return head + bytes(128 - len(head)) + struct.pack(">I", 4) + tags + data


def test_the_profile_is_a_sound_one() -> None:
    assert ImageCms.ImageCmsProfile(io.BytesIO(grey_profile())).profile.xcolor_space == "GRAY"


def grey(mode: str, value: int = 100) -> Image.Image:
    if mode == "L with a transparent value":
        return Image.new("L", (64, 48), value)
    return Image.new("LA", (64, 48), (value, 200)) if mode == "LA" else Image.new(mode, (64, 48), value)


@pytest.mark.parametrize("gamma", [1.0, 1.8, 3.0])
@pytest.mark.parametrize("origin", ["PNG", "TIFF"])
@pytest.mark.parametrize("mode", ["L", "LA", "L with a transparent value"])
def test_the_profile_of_a_grey_picture_is_applied_with_and_without_transparency(
    mode: str, origin: str, gamma: float
) -> None:
    options: dict[str, Any] = {"transparency": 7} if mode.startswith("L with") and origin == "PNG" else {}
    content = encoded(grey(mode), origin, icc_profile=grey_profile(gamma), **options)

    whole, small = made(content, output(), output(name="b", width_px=16)).made

    expected = round(255 * srgb((100 / 255) ** gamma))
    for picture in (whole, small):
        seen = pixel(opened(picture).convert("RGBA"), 5, 5)
        assert close(seen[:3], (expected,) * 3, most=2)
        assert seen[3] == (200 if mode == "LA" else 255)


def srgb(linear: float) -> float:
    return float(12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055)


def test_a_grey_profile_goes_along_only_where_the_picture_stays_grey() -> None:
    content = encoded(grey("L"), "PNG", icc_profile=grey_profile())

    result = made(
        content,
        output(name="a", keep=("icc",)),
        output(name="b", format="webp", lossless=True, keep=("icc",)),
        output(name="c", mode="contain", width_px=99, height_px=99, background="#ff0000", keep=("icc",)),
        output(name="d", format="jpeg", keep=("icc",)),
    )
    stays, webp, padded, jpeg = (opened(each) for each in result.made)

    assert (stays.mode, stays.info.get("icc_profile"), stays.getpixel((5, 5))) == ("L", grey_profile(), 100)
    assert (jpeg.mode, jpeg.info.get("icc_profile")) == ("L", grey_profile())
    for each in (webp, padded):
        assert "icc_profile" not in each.info
        assert close(pixel(each.convert("RGB"), 50, 40), (168, 168, 168), most=2)


def test_a_profile_of_colours_does_no_harm_to_grey_with_transparency() -> None:
    srgb_profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    assert only(encoded(grey("LA"), "PNG", icc_profile=srgb_profile)).getpixel((5, 5)) == (100, 100, 100, 200)


def test_transparent_grey_becomes_every_format_and_goes_onto_white() -> None:
    source = Image.new("LA", (64, 48), (0, 0))
    source.paste((0, 255), (32, 0, 64, 48))

    result = made(
        encoded(source, "PNG"),
        *(output(name=each, format=each, quality=95) for each in ("jpeg", "png", "webp", "avif", "gif", "tiff")),
        output(name="smart", mode="fill", width_px=20, height_px=20, gravity="smart"),
        output(name="grey", grayscale=True, blur_px=1),
    )

    jpeg, *others = (opened(each) for each in result.made)
    assert close((pixel(jpeg, 8, 8), pixel(jpeg, 56, 8)), ((255, 255, 255), (0, 0, 0)))
    for each in (*others[:5], others[6]):
        assert close((pixel(each.convert("RGBA"), 8, 8)[3], pixel(each.convert("RGBA"), 56, 8)), (0, (0, 0, 0, 255)))
