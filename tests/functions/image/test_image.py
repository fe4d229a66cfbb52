"""The image function: pixels of pictures drawn here, the files that it must refuse, and the whole function."""

import io
import json
import shutil
import struct
import subprocess
import sys
import zlib
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from PIL import Image, ImageCms, ImageFile, ImageOps
from PIL.ExifTags import Base

from events.http import STRUCTURED
from events.types import ImageCompleted
from functions.image.geometry import Turn, plan
from functions.image.picture import render
from functions.image.task import Output, Picture, Pictures, Task
from functions.sandbox.sandbox import Handlers, Sandbox
from tests.support.function_client import FunctionClient
from tests.support.http_server import http_server

ROOT = Path(__file__).parents[3]
SAMPLE = json.loads((ROOT / "events/samples/dev.errands.image.requested.v1.json").read_text())
PHOTO = (ROOT / "tests/files/raccoon.jpg").read_bytes()
RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 0)
# the corners of `quarters`, clockwise from the top left
CORNERS = (RED, GREEN, BLUE, YELLOW)
Pixel = tuple[int, ...]


def quarters(width_px: int = 64, height_px: int = 48) -> Image.Image:
    """Four fields: red, green / yellow, blue."""
    picture = Image.new("RGB", (width_px, height_px), RED)
    half = (width_px // 2, height_px // 2)
    picture.paste(GREEN, (half[0], 0, width_px, half[1]))
    picture.paste(BLUE, (*half, width_px, height_px))
    picture.paste(YELLOW, (0, half[1], half[0], height_px))
    return picture


def corners(picture: Image.Image) -> tuple[Pixel, ...]:
    """A pixel from the middle of each quarter, clockwise from the top left."""
    rgb = picture.convert("RGB")
    left, right, top, bottom = rgb.width // 4, rgb.width * 3 // 4, rgb.height // 4, rgb.height * 3 // 4
    return tuple(pixel(rgb, *at) for at in ((left, top), (right, top), (right, bottom), (left, bottom)))


def pixel(picture: Image.Image, x: int, y: int) -> Pixel:
    return cast(Pixel, picture.getpixel((x, y)))


def close(seen: Any, expected: Any, *, most: int = 12) -> bool:
    """Whether two pixels, or two tuples of them, differ by no more than lossy formats do."""
    if isinstance(seen, tuple):
        return len(seen) == len(expected) and all(close(*each, most=most) for each in zip(seen, expected, strict=True))
    return bool(abs(seen - expected) <= most)


def encoded(picture: Image.Image, format_: str, **options: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, format_, **options)
    return content.getvalue()


def output(**fields: Any) -> Output:
    return Output(**{"name": "a.png", "format": "png", **fields})


def made(content: bytes, *outputs: Output, pixels_limit: int = 50_000_000, frames_limit: int = 100) -> Pictures:
    """Renders in this process; without an output a PNG of the source's size."""
    return render(
        Task(outputs=outputs or (output(),), pixels_limit=pixels_limit, frames_limit=frames_limit),
        io.BytesIO(content),
    )


def opened(picture: Picture) -> Image.Image:
    image = Image.open(io.BytesIO(picture.content))
    image.load()
    assert image.size == (picture.width_px, picture.height_px)
    assert f"image/{picture.format}" == image.get_format_mimetype()
    return image


def only(content: bytes, **fields: Any) -> Image.Image:
    """The one picture made of a source."""
    return opened(made(content, output(**fields)).made[0])


# --- upright


def turned(format_: str, orientation: int) -> bytes:
    """`quarters` as a camera held in that way stores it; the reference is Pillow's own reading of EXIF 3.0."""
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    for turn in [None, *Image.Transpose]:
        stored = quarters() if turn is None else quarters().transpose(turn)
        upright = Image.open(io.BytesIO(encoded(stored, "PNG", exif=exif)))
        if corners(ImageOps.exif_transpose(upright)) == CORNERS:
            options = {"quality": 95} if format_ in ("JPEG", "AVIF", "WEBP") else {}
            return encoded(stored, format_, exif=exif, **options)
    raise AssertionError(f"no turn gives orientation {orientation}")


def test_it_says_how_many_outputs_are_done() -> None:
    heard: list[str] = []
    task = Task(outputs=(output(name="a"), output(name="b")), pixels_limit=10**6, frames_limit=9)

    with Sandbox(walls="off") as sandbox:
        work, content = "functions.image.picture:render", encoded(quarters(), "png")
        sandbox.run(work, task, content, result=Pictures, handlers=Handlers(on_progress=heard.append))

    assert heard == ["1 of 2 pictures", "2 of 2 pictures"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_comes_out_upright_for_every_exif_orientation(orientation: int) -> None:
    stored = turned("JPEG", orientation)

    result = made(stored, output())

    assert (result.width_px, result.height_px) == (64, 48)
    assert close(corners(opened(result.made[0])), CORNERS)


@pytest.mark.parametrize("orientation", [3, 6, 7])
@pytest.mark.parametrize("format_", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_the_orientation_of_every_format_that_has_one_is_applied_once(format_: str, orientation: int) -> None:
    result = made(turned(format_, orientation), output(width_px=32))

    assert (result.width_px, result.height_px) == (64, 48)
    assert (result.made[0].width_px, result.made[0].height_px) == (32, 24)
    assert close(corners(opened(result.made[0])), CORNERS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_crop_is_of_the_upright_picture(orientation: int) -> None:
    picture = only(turned("JPEG", orientation), width_px=16, height_px=24, mode="fill")

    assert picture.size == (16, 24)
    assert close(corners(picture), CORNERS)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_a_broken_exif_block_turns_nothing(format_: str) -> None:
    content = encoded(quarters(), format_, quality=95, exif=b"Exif\0\0rubbish!")

    assert close(corners(only(content)), CORNERS)


# --- sizes


@pytest.mark.parametrize(
    ("source", "fields", "size", "part"),
    [
        ((4000, 3000), {}, (4000, 3000), (4000, 3000)),
        ((4000, 3000), {"width_px": 800}, (800, 600), (4000, 3000)),
        ((4000, 3000), {"height_px": 100}, (133, 100), (4000, 3000)),
        ((4000, 3000), {"width_px": 800, "height_px": 800}, (800, 600), (4000, 3000)),
        ((3000, 4000), {"width_px": 800, "height_px": 800}, (600, 800), (3000, 4000)),
        ((400, 300), {"width_px": 800}, (400, 300), (400, 300)),
        ((10_000, 3), {"width_px": 100}, (100, 1), (10_000, 3)),
        ((4000, 3000), {"width_px": 200, "height_px": 200, "mode": "fill"}, (200, 200), (3000, 3000)),
        ((4000, 3000), {"width_px": 400, "height_px": 100, "mode": "fill"}, (400, 100), (4000, 1000)),
        ((64, 48), {"width_px": 200, "height_px": 200, "mode": "fill"}, (48, 48), (48, 48)),
        ((64, 480), {"width_px": 128, "height_px": 64, "mode": "fill"}, (64, 32), (64, 32)),
        ((10_000, 1), {"width_px": 100, "height_px": 100, "mode": "fill"}, (1, 1), (1, 1)),
    ],
)
def test_the_size_and_the_part_that_is_shown_follow_from_the_box(
    source: tuple[int, int], fields: dict[str, Any], size: tuple[int, int], part: tuple[int, int]
) -> None:
    result = plan(output(**fields), source, Turn())

    assert (result.size_px, (result.part.width, result.part.height)) == (size, part)


def test_a_fill_keeps_the_middle() -> None:
    stripes = Image.new("RGB", (300, 100), RED)
    stripes.paste(GREEN, (100, 0, 200, 100))
    stripes.paste(BLUE, (200, 0, 300, 100))

    picture = only(encoded(stripes, "PNG"), width_px=50, height_px=50, mode="fill")

    assert {close(each, GREEN) for each in (pixel(picture, x, y) for x in (2, 25, 47) for y in (0, 49))} == {True}


def test_a_fit_keeps_everything() -> None:
    picture = only(encoded(quarters(640, 480), "PNG"), width_px=100, height_px=100)

    assert picture.size == (100, 75)
    assert close(corners(picture), CORNERS)


def test_a_small_source_is_not_enlarged_and_not_resampled() -> None:
    content = encoded(quarters(), "PNG")

    whole = only(content, width_px=800)
    cropped = only(content, width_px=200, height_px=200, mode="fill")

    assert whole.tobytes() == quarters().tobytes()
    assert cropped.tobytes() == quarters().crop((8, 0, 56, 48)).tobytes()


def test_a_crop_without_a_resize_keeps_every_pixel_where_the_ratio_is_fractional() -> None:
    noise = Image.effect_noise((65, 48), 200)

    picture = only(encoded(noise, "PNG"), width_px=300, height_px=200, mode="fill")

    assert picture.tobytes() == noise.crop((0, 2, 65, 45)).tobytes()


def test_a_large_jpeg_is_shrunk_while_it_is_decoded_without_moving_its_content() -> None:
    source = quarters(2003, 1501)  # odd sides: libjpeg rounds them up

    small = only(encoded(source, "JPEG", quality=95), width_px=200)

    exact = source.resize((200, 150), Image.Resampling.LANCZOS)
    assert small.size == (200, 150)
    assert close(corners(small), CORNERS)
    assert close(pixel(small, 97, 20), pixel(exact, 97, 20))
    assert close(pixel(small, 103, 20), pixel(exact, 103, 20))


def test_several_outputs_come_from_one_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    content, loads = encoded(quarters(640, 480), "PNG"), []
    decode = ImageFile.ImageFile.load_prepare

    def counted(image: ImageFile.ImageFile) -> None:
        loads.append(image)
        decode(image)

    with monkeypatch.context() as patched:
        patched.setattr(ImageFile.ImageFile, "load_prepare", counted)
        result = made(content, output(name="1", width_px=10), output(name="2", width_px=320), output(name="3"))

    assert [each.width_px for each in result.made] == [10, 320, 640]
    assert all(close(corners(opened(each)), CORNERS) for each in result.made)
    assert len(loads) == 1


# --- formats and colours


@pytest.mark.parametrize("target", ["jpeg", "png", "webp", "avif"])
@pytest.mark.parametrize("origin", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "BMP"])
def test_every_format_that_is_read_becomes_every_format_that_is_written(origin: str, target: str) -> None:
    result = made(encoded(quarters(), origin), output(format=target, quality=95))

    assert result.format == origin.lower()
    assert close(corners(opened(result.made[0])), CORNERS, most=16)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("target", ["jpeg", "png", "webp", "avif"])
def test_every_mode_of_a_png_becomes_every_format(mode: str, target: str) -> None:
    grey = Image.new("L", (64, 48), 0)
    grey.paste(255, (32, 0, 64, 48))
    source = (
        grey.convert("I").point(lambda value: value * 257).convert("I;16") if mode == "I;16" else grey.convert(mode)
    )

    picture = only(encoded(source, "PNG"), format=target, quality=95)

    assert close(corners(picture), ((0, 0, 0), (255, 255, 255), (255, 255, 255), (0, 0, 0)))


def test_sixteen_bits_become_eight_by_scaling() -> None:
    source = Image.new("I;16", (8, 8), 0x8000)

    assert only(encoded(source, "PNG")).getpixel((4, 4)) == 127


def test_a_cmyk_jpeg_becomes_rgb() -> None:
    picture = only(encoded(quarters().convert("CMYK"), "JPEG", quality=95))

    assert picture.mode == "RGB"
    assert close(corners(picture), CORNERS)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_becomes_white_in_a_jpeg(mode: str) -> None:
    source = Image.new("RGBA", (64, 48), (0, 0, 0, 0))
    source.paste((0, 0, 0, 255), (32, 0, 64, 48))

    picture = only(encoded(source.convert(mode), "PNG"), format="jpeg", quality=95)

    assert close(corners(picture), ((255, 255, 255), (0, 0, 0), (0, 0, 0), (255, 255, 255)))


def test_half_transparent_red_becomes_pink_in_a_jpeg() -> None:
    source = Image.new("RGBA", (64, 48), (255, 0, 0, 128))

    assert close(pixel(only(encoded(source, "PNG"), format="jpeg"), 32, 24), (255, 127, 127))


@pytest.mark.parametrize("target", ["png", "webp", "avif"])
def test_transparency_is_kept_where_the_format_has_it(target: str) -> None:
    source = Image.new("RGBA", (64, 48), (0, 0, 0, 0))
    source.paste((255, 0, 0, 255), (32, 0, 64, 48))

    picture = only(encoded(source, "PNG"), format=target, width_px=32)

    assert picture.mode == "RGBA"
    assert close((pixel(picture, 4, 12)[3], pixel(picture, 28, 12)), (0, (255, 0, 0, 255)))


def test_a_transparent_colour_leaves_no_dark_edge_when_resized() -> None:
    source = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    source.paste((255, 255, 255, 255), (33, 0, 64, 64))

    picture = only(encoded(source, "PNG"), width_px=16)

    edge = [pixel(picture, x, 8) for x in range(16)]
    assert all(close(each[:3], (255, 255, 255)) for each in edge if each[3] > 8)


@cache  # a profile holds the time of its making
def exchanged_profile() -> bytes:
    """A valid RGB profile whose red is sRGB's green and the other way round: the tags rXYZ and gXYZ change places."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return srgb.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")


@pytest.mark.parametrize("origin", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_colour_profile_is_converted_to_srgb(origin: str) -> None:
    source = Image.new("RGB", (64, 48), (255, 0, 0))
    options = {"quality": 95} if origin in ("JPEG", "WEBP", "AVIF") else {}

    picture = only(encoded(source, origin, icc_profile=exchanged_profile(), **options))

    assert close(pixel(picture, 32, 24), (0, 255, 0), most=16)


@pytest.mark.parametrize("profile", [b"broken", exchanged_profile()[:200], b"\0" * 3000])
def test_a_broken_colour_profile_is_ignored(profile: bytes) -> None:
    picture = only(encoded(quarters(), "JPEG", quality=95, icc_profile=profile))

    assert close(corners(picture), CORNERS)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_colour_profile_of_another_colour_space_does_no_harm(mode: str) -> None:
    source = Image.new("RGB", (64, 48), (90, 90, 90)).convert(mode)

    picture = only(encoded(source, "TIFF", icc_profile=exchanged_profile()))

    assert close(pixel(picture.convert("RGB"), 32, 24), (90, 90, 90))


@pytest.mark.parametrize("target", ["jpeg", "png", "webp", "avif"])
def test_nothing_of_the_sources_metadata_is_in_an_output(target: str) -> None:
    exif = Image.Exif()
    exif[Base.Orientation], exif[Base.Make] = 1, "a camera that tells"
    content = encoded(quarters(), "JPEG", exif=exif, comment=b"home", dpi=(300, 300), xmp=b"<x:xmpmeta/>")

    tagged = made(content, output(format=target)).made[0]
    profiled = made(encoded(quarters(), "PNG", icc_profile=exchanged_profile()), output(format=target)).made[0]

    for each in (tagged, profiled):
        assert not {"exif", "icc_profile", "xmp", "comment", "dpi"} & set(opened(each).info)
    assert not any(word in tagged.content for word in (b"camera", b"home", b"xmpmeta", b"Exif"))


def test_the_photographs_place_is_stripped() -> None:
    assert Image.open(io.BytesIO(PHOTO)).getexif().get_ifd(0x8825)

    picture = only(PHOTO, format="jpeg", width_px=200)

    assert not picture.getexif()


def test_the_first_frame_of_an_animation_is_taken_where_the_format_has_one_only() -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in (RED, GREEN, BLUE)]
    for format_ in ("GIF", "WEBP", "PNG", "TIFF", "AVIF"):
        content = encoded(frames[0], format_, save_all=True, append_images=frames[1:])
        assert close(pixel(only(content, format="jpeg"), 32, 24), RED), format_
        assert close(pixel(only(content, animated=False).convert("RGB"), 32, 24), RED), format_


@pytest.mark.parametrize("target", ["jpeg", "png", "webp", "avif"])
def test_the_same_task_gives_the_same_bytes(target: str) -> None:
    asked = output(format=target, width_px=300)

    assert made(PHOTO, asked).made == made(PHOTO, asked).made


def test_a_noisy_picture_of_the_highest_quality_fits_the_encoders_buffer() -> None:
    noise = Image.effect_noise((600, 400), 200).convert("RGB")

    assert only(encoded(noise, "PNG"), format="jpeg", quality=100).size == (600, 400)


# --- refused


def claims(width_px: int, height_px: int) -> bytes:
    """A PNG of 65 bytes that says it is as large as that."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load_prepare", lambda _: pytest.fail("it was decoded"))

    with pytest.raises(ValueError, match="1 to 50000000 pixels, got 50000 x 50000 pixels"):
        made(claims(50_000, 50_000))


def test_the_limit_of_pixels_can_be_raised_over_pillows_own() -> None:
    with pytest.raises(ValueError, match="corrupt or cut short"):
        made(claims(16_000, 12_000), pixels_limit=1_000_000_000)


def test_frames_count_as_pixels_and_have_a_limit_of_their_own() -> None:
    frames = [Image.new("RGB", (64, 48), (index, 0, 0)) for index in range(12)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])

    with pytest.raises(ValueError, match="1 to 30000 pixels, got 64 x 48 pixels in 12 frames"):
        made(content, pixels_limit=30_000)
    with pytest.raises(ValueError, match="at most 10 frames, got 12"):
        made(content, frames_limit=10)


def test_the_further_pictures_of_a_phones_jpeg_do_not_count() -> None:
    content = encoded(quarters(), "MPO", save_all=True, append_images=[quarters()])

    result = made(content, pixels_limit=64 * 48)

    assert result.format == "jpeg"


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "BMP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_refused_with_the_reason(format_: str, share: float) -> None:
    content = encoded(Image.open(io.BytesIO(PHOTO)), format_)

    with pytest.raises(ValueError, match=r"the source (is corrupt or cut short: .+|must be JPEG, .* sound header)"):
        made(content[: int(len(content) * share)])


@pytest.mark.parametrize(
    "content", [b"", b"<feed xmlns='http://www.w3.org/2005/Atom'/>", b"%!PS-Adobe-3.0 EPSF", b"P6 1 1 255 \0\0\0"]
)
def test_other_formats_are_refused_and_the_known_ones_named(content: bytes) -> None:
    known = "JPEG, PNG, WebP, GIF, TIFF, AVIF, BMP, HEIC, SVG or PDF"
    with pytest.raises(ValueError, match=f"must be {known} with a sound header, got"):
        made(content)


def test_32_bits_a_channel_are_refused() -> None:
    with pytest.raises(ValueError, match="8 or 16 bits a channel, got 32"):
        made(encoded(Image.new("F", (8, 8), 0.5), "TIFF"))


def refused(content: bytes, **fields: Any) -> tuple[str, str]:
    """The field and the reason of the one refusal."""
    result = made(content, output(**fields))
    assert result.made == ()
    (refusal,) = result.refused
    return refusal.field, refusal.detail


def test_an_output_over_a_limit_is_refused_with_the_field_and_the_measured_value() -> None:
    long, small = encoded(Image.new("L", (17_000, 2)), "PNG"), encoded(quarters(), "PNG")

    assert refused(long) == ("width_px", "a side of an output must be at most 16384 px, got 17000 x 2")
    assert refused(long, format="webp", width_px=16_384, height_px=9, enlarge=True) == (
        "width_px",
        "a side in webp must be at most 16383 px, got 16384 x 2",
    )
    assert refused(small, mode="contain", width_px=16_000, height_px=16_000) == (
        "width_px",
        "an output must have at most 50000000 pixels, got 16000 x 16000",
    )


# --- the whole function

Client = Callable[..., FunctionClient]


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Makes the function's test client, with settings beside the store in tmp_path/store."""

    def make(**environment: str) -> FunctionClient:
        for name, value in {"STORE_URL": f"file://{tmp_path}/store", **environment}.items():
            monkeypatch.setenv(name, value)
        return FunctionClient(ROOT / "functions/image/main.py")

    return make


def request(source: dict[str, Any] | None = None, **data: Any) -> dict[str, Any]:
    """The sample, with another source or other data."""
    return {**SAMPLE, "data": {**SAMPLE["data"], **({"source": source} if source else {}), **data}}


def response(function: FunctionClient, event: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """The headers and the data of the function's 200."""
    response = function.post("/", content=json.dumps(event), headers={"content-type": STRUCTURED})
    assert response.status_code == 200, response.text
    return {name.lower(): value for name, value in response.headers.items()}, json.loads(response.content)


def failure(function: FunctionClient, event: dict[str, Any]) -> tuple[str, str]:
    """The kind and the detail of the failed event that the function answers."""
    headers, data = response(function, event)
    assert (headers["ce-type"], headers["ce-outcome"]) == ("dev.errands.image.failed.v1", "failed")
    return data["type"].removeprefix("https://errands.dev/problems/"), data["detail"]


def test_the_sample_is_answered_with_a_completed_event_and_stored_files(client: Client, tmp_path: Path) -> None:
    headers, data = response(client(STORE_PUBLIC_URL="https://files.example/a", STORE_NAMES_SECRET="x" * 32), SAMPLE)

    completed = msgspec.convert(data, ImageCompleted)
    assert (headers["ce-type"], headers["ce-outcome"]) == ("dev.errands.image.completed.v1", "completed")
    assert headers["ce-jobid"] == SAMPLE["id"]
    source = completed.source
    assert (source.format, source.width_px, source.height_px) == ("png", 64, 48)
    assert [(each.name, each.media_type, each.width_px, each.height_px) for each in completed.artifacts] == [
        ("thumb.jpg", "image/jpeg", 48, 48),
        ("large.webp", "image/webp", 64, 48),
        ("large.avif", "image/avif", 64, 48),
    ]
    for each in completed.artifacts:
        content = (tmp_path / "store" / each.key).read_bytes()
        assert (len(content), sha256(content).hexdigest()) == (each.size_bytes, each.sha256)
        assert each.url == f"https://files.example/a/{each.key}"
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.size == (each.width_px, each.height_px)


def test_a_photograph_from_the_store_comes_out_upright(client: Client, tmp_path: Path) -> None:
    (tmp_path / "store/uploads").mkdir(parents=True)
    (tmp_path / "store/uploads/raccoon.jpg").write_bytes(PHOTO)
    outputs = [{"name": "small.jpg", "width_px": 400}]

    _, data = response(
        client(), request({"key": "uploads/raccoon.jpg", "sha256": sha256(PHOTO).hexdigest()}, outputs=outputs)
    )

    source = data["source"]
    assert (source["format"], source["width_px"], source["height_px"]) == ("jpeg", 1024, 768)
    assert (source["size_bytes"], source["dominant_color"]) == (len(PHOTO), "#746d7a")
    small = Image.open(tmp_path / "store" / data["artifacts"][0]["key"])
    assert small.size == (400, 300)
    reference = ImageOps.exif_transpose(Image.open(io.BytesIO(PHOTO))).resize((400, 300), Image.Resampling.LANCZOS)
    assert all(
        close(pixel(small, x, y), pixel(reference, x, y), most=30) for x, y in ((60, 250), (200, 120), (390, 20))
    )


def test_a_repeated_delivery_gives_the_same_reply_and_the_same_bytes(client: Client, tmp_path: Path) -> None:
    first = response(client(), SAMPLE)
    again = response(client(), SAMPLE)
    shutil.rmtree(tmp_path / "store")
    anew = response(client(), SAMPLE)

    assert again[0]["ce-id"] == first[0]["ce-id"] == anew[0]["ce-id"]
    assert again[1] == first[1] == anew[1]


def test_a_truncated_picture_fails_the_job_with_the_reason(client: Client) -> None:
    cut = b64encode(PHOTO[:50_000]).decode()

    kind, detail = failure(client(), request({"data_base64": cut}))

    assert kind == "source-refused"
    assert detail.startswith("the source is corrupt or cut short: image file is truncated")


def test_a_bomb_fails_the_job(client: Client) -> None:
    bomb = b64encode(claims(50_000, 50_000)).decode()

    kind, detail = failure(client(), request({"data_base64": bomb}))

    assert (kind, detail) == (
        "source-refused",
        "the source must have 1 to 100000000 pixels, got 50000 x 50000 pixels",
    )


def test_a_limit_fails_the_job_and_is_named(client: Client) -> None:
    photo = {"data_base64": b64encode(PHOTO).decode()}

    kind, detail = failure(client(MEMORY_LIMIT_BYTES="1000000"), request(photo))

    assert (kind, detail) == ("limit-exceeded", "making the pictures exceeded 1000000 bytes of memory")


def test_a_decoder_that_crashes_fails_the_job(client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # what a child would find in place of Pillow, were its JPEG decoder to die
    (tmp_path / "sitecustomize.py").write_text(
        "import ctypes, functions.image.picture as picture\npicture.render = lambda *_: ctypes.string_at(0)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")

    kind, detail = failure(client(), SAMPLE)

    assert kind == "source-corrupt"
    assert "SIGSEGV" in detail


def test_another_sha256_fails_the_job_and_names_both(client: Client) -> None:
    source = {**SAMPLE["data"]["source"], "sha256": "0" * 64}

    kind, detail = failure(client(), request(source))

    actual = sha256(msgspec.convert(source["data_base64"], bytes)).hexdigest()
    assert (kind, detail) == ("source-mismatch", f"the source's sha256 must be {'0' * 64}, got {actual}")


@pytest.mark.parametrize("key", ["jobs/unknown.jpg", "../secret.jpg", "a//b", "/etc/hostname"])
def test_a_key_that_the_store_does_not_have_fails_the_job(client: Client, tmp_path: Path, key: str) -> None:
    (tmp_path / "secret.jpg").write_bytes(PHOTO)

    kind, detail = failure(client(), request({"key": key}))

    assert kind == "source-refused"
    assert repr(key) in detail


def test_a_source_over_the_limit_fails_the_job(client: Client) -> None:
    kind, detail = failure(client(SOURCE_LIMIT_BYTES="1000"), SAMPLE)

    size_bytes = len(msgspec.convert(SAMPLE["data"]["source"]["data_base64"], bytes))
    assert (kind, detail) == ("source-refused", f"the source must be at most 1000 bytes, got {size_bytes}")


def test_a_misspelt_field_fails_the_job_and_is_named(client: Client) -> None:
    kind, detail = failure(client(), request(outputs=[{"name": "a.jpg", "widht_px": 3}]))

    assert kind == "invalid-data"
    assert "widht_px" in detail


class PhotoServer(BaseHTTPRequestHandler):
    """Serves the photograph; `/busy` is 503, everything else 404."""

    def do_GET(self) -> None:
        status = {"/photo.jpg": 200, "/busy": 503}.get(self.path, 404)
        body = PHOTO if status == 200 else b""
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("retry-after", "7")
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def photos() -> Any:
    """The URL of a server on this machine."""
    with http_server(PhotoServer) as url:
        yield url


@pytest.mark.slow
def test_a_source_is_downloaded_from_an_allowed_network(client: Client, photos: str) -> None:
    _, data = response(client(ALLOWED_NETWORKS="127.0.0.0/8"), request({"url": f"{photos}/photo.jpg"}))

    assert data["source"]["size_bytes"] == len(PHOTO)


def test_a_private_address_is_refused_by_default(client: Client, photos: str) -> None:
    kind, detail = failure(client(), request({"url": f"{photos}/photo.jpg"}))

    assert kind == "source-refused"
    assert "127.0.0.1" in detail


def test_a_url_that_is_not_there_fails_the_job_and_one_that_is_busy_is_tried_again(client: Client, photos: str) -> None:
    function = client(ALLOWED_NETWORKS="127.0.0.0/8")

    kind, detail = failure(function, request({"url": f"{photos}/gone.jpg"}))
    another = {**request({"url": f"{photos}/busy"}), "id": "order-1043-photo"}
    busy = function.post("/", content=json.dumps(another), headers={"content-type": STRUCTURED})

    assert (kind, "answered 404" in detail) == ("source-refused", True)
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "7")


def test_the_function_itself_never_loads_pillow(tmp_path: Path) -> None:
    code = "import sys, functions.image.main; print(sorted(name for name in sys.modules if name.startswith('PIL')))"
    environment = {"STORE_URL": f"file://{tmp_path}", "PYTHONPATH": str(ROOT)}

    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)

    assert printed.stdout == "[]\n"
