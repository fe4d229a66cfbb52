"""What an output may ask for, pixel by pixel: modes, crops, effects, formats, animations, metadata, watermarks."""

import io
from typing import Any

import pytest
from PIL import Image, ImageDraw
from PIL.ExifTags import IFD, Base

from functions.image.placeholder import blurhash, dominant_color
from functions.image.task import Crop, Focus, Picture, Watermark
from tests.functions.image.test_image import (
    BLUE,
    CORNERS,
    GREEN,
    PHOTO,
    RED,
    YELLOW,
    close,
    corners,
    encoded,
    exchanged_profile,
    made,
    only,
    opened,
    output,
    pixel,
    quarters,
    turned,
)
from tests.functions.image.test_image import refused as refusal

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
QUARTERS = encoded(quarters(400, 300), "PNG")


def stripes(*colours: tuple[int, int, int]) -> bytes:
    """Upright stripes of 100 x 300 pixels, from the left."""
    picture = Image.new("RGB", (100 * len(colours), 300))
    for index, colour in enumerate(colours):
        picture.paste(colour, (100 * index, 0, 100 * index + 100, 300))
    return encoded(picture, "PNG")


def frames(content: bytes) -> list[Image.Image]:
    """The frames of a file as RGBA."""
    image = Image.open(io.BytesIO(content))
    shown = []
    for index in range(getattr(image, "n_frames", 1)):
        image.seek(index)
        shown.append(image.convert("RGBA"))
    return shown


# --- modes and crops


@pytest.mark.parametrize(
    ("mode", "enlarge", "size"),
    [
        ("fit", False, (400, 300)),
        ("fit", True, (800, 600)),
        ("fill", False, (300, 300)),
        ("fill", True, (800, 800)),
        ("contain", False, (800, 800)),
        ("contain", True, (800, 800)),
        ("exact", False, (300, 300)),
        ("exact", True, (800, 800)),
    ],
)
def test_only_enlarge_makes_pixels_grow(mode: str, enlarge: bool, size: tuple[int, int]) -> None:
    picture = only(QUARTERS, mode=mode, width_px=800, height_px=800, enlarge=enlarge)

    assert picture.size == size


def test_exact_stretches_the_whole_picture_to_the_box() -> None:
    picture = only(QUARTERS, mode="exact", width_px=60, height_px=200)

    assert picture.size == (60, 200)
    assert close(corners(picture), CORNERS)


@pytest.mark.parametrize(
    ("place", "top_px"), [("top", 0), ("center", 25), ("bottom", 50), ("top-left", 0), ("bottom-right", 50)]
)
def test_contain_pads_with_the_background_on_the_side_away_from_the_gravity(place: str, top_px: int) -> None:
    picture = only(QUARTERS, mode="contain", width_px=200, height_px=200, gravity=place, background="#ff00ff")

    assert picture.size == (200, 200)
    rows = [y for y in range(200) if not close(pixel(picture, 100, y), (255, 0, 255))]
    assert (rows[0], rows[-1]) == (top_px, top_px + 149)


def test_contain_pads_with_nothing_where_the_format_has_it_and_with_white_in_a_jpeg() -> None:
    box: dict[str, Any] = {"mode": "contain", "width_px": 200, "height_px": 200}

    assert pixel(only(QUARTERS, **box), 100, 2)[3] == 0
    assert close(pixel(only(QUARTERS, **box, format="jpeg"), 100, 2), WHITE)


@pytest.mark.parametrize(
    ("gravity", "colour"),
    [("left", RED), ("center", GREEN), ("right", BLUE), ("top-left", RED), ("bottom-right", BLUE)],
)
def test_a_fill_keeps_the_side_of_its_gravity(gravity: str, colour: tuple[int, int, int]) -> None:
    picture = only(stripes(RED, GREEN, BLUE), mode="fill", width_px=30, height_px=90, gravity=gravity)

    assert close((pixel(picture, 1, 45), pixel(picture, 28, 45)), (colour, colour))


@pytest.mark.parametrize(("gravity", "offset_px"), [("left", 15), ("right", 45), ("center", -15)])
def test_offsets_go_inwards_from_the_gravity_in_pixels_of_the_output(gravity: str, offset_px: int) -> None:
    """The same window, half red and half green, from three sides: the source is ten times as large."""
    source = stripes(RED, GREEN, BLUE)

    picture = only(source, mode="fill", width_px=30, height_px=90, gravity=gravity, offset_x_px=offset_px)

    assert close((pixel(picture, 10, 45), pixel(picture, 20, 45)), (RED, GREEN))


def test_an_offset_ends_at_the_edge() -> None:
    picture = only(stripes(RED, GREEN, BLUE), mode="fill", width_px=30, height_px=90, gravity="left", offset_x_px=9999)

    assert close((pixel(picture, 1, 45), pixel(picture, 28, 45)), (BLUE, BLUE))


@pytest.mark.parametrize(
    ("x", "colours"), [(0.0, (RED, RED)), (1 / 3, (RED, GREEN)), (0.5, (GREEN, GREEN)), (1.0, (BLUE, BLUE))]
)
def test_a_fill_has_its_focus_in_the_middle_as_far_as_the_edges_allow(x: float, colours: Any) -> None:
    picture = only(stripes(RED, GREEN, BLUE), mode="fill", width_px=30, height_px=90, focus=Focus(x=x, y=0.5))

    assert close((pixel(picture, 8, 45), pixel(picture, 22, 45)), colours)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_crop_and_focus_are_of_the_upright_picture(orientation: int) -> None:
    stored = turned("PNG", orientation)  # 64 x 48

    cropped = only(stored, crop=Crop(x_px=32, y_px=0, width_px=32, height_px=24))
    focused = only(stored, mode="fill", width_px=10, height_px=48, focus=Focus(x=0.75, y=0.5))

    assert (cropped.size, corners(cropped)) == ((32, 24), (GREEN,) * 4)
    assert corners(focused) == (GREEN, GREEN, BLUE, BLUE)


@pytest.mark.parametrize(("rotate_deg", "flip"), [(90, None), (180, None), (270, None), (0, "horizontal")])
def test_crop_and_focus_are_of_the_picture_before_it_is_rotated(rotate_deg: int, flip: str | None) -> None:
    turn: dict[str, Any] = {"rotate_deg": rotate_deg, "flip": flip}
    box = {"width_px": 30, "height_px": 90} if rotate_deg in (0, 180) else {"width_px": 90, "height_px": 30}

    cropped = only(QUARTERS, crop=Crop(x_px=200, width_px=200, height_px=150), **turn)
    focused = only(stripes(RED, GREEN, BLUE), mode="fill", focus=Focus(x=0.0, y=0.5), **turn, **box)

    assert corners(cropped) == (GREEN,) * 4
    assert close(corners(focused), (RED,) * 4)


def test_a_crop_that_leaves_the_picture_is_refused_with_both_sizes() -> None:
    field, detail = refusal(QUARTERS, crop=Crop(x_px=300, width_px=200, height_px=10))

    assert (field, detail) == ("crop", "the crop must lie inside the source's 400 x 300 px, got 200 x 10 px at 300, 0")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_smart_crop_keeps_the_part_with_most_detail(place: int, orientation: int) -> None:
    plain = Image.new("RGB", (300, 100), (200, 200, 200))
    plain.paste(Image.effect_noise((100, 100), 120).convert("RGB"), (100 * place, 0))
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    content = encoded(plain, "PNG", exif=exif)

    picture = only(content, mode="fill", gravity="smart", width_px=50, height_px=50).convert("L")

    edges = [abs(int(pixel(picture, 25, y)) - 200) for y in range(50)]  # type: ignore[call-overload]  # one channel
    assert sum(each > 12 for each in edges) > 25


def test_dpr_multiplies_every_length() -> None:
    once = made(QUARTERS, output(mode="contain", width_px=60, height_px=60, offset_y_px=3, gravity="top"))
    twice = made(QUARTERS, output(mode="contain", width_px=60, height_px=60, offset_y_px=3, gravity="top", dpr=2))

    assert (once.made[0].width_px, twice.made[0].width_px) == (60, 120)
    assert [pixel(opened(each.made[0]), 30, y)[3] for each, y in ((once, 2), (once, 3), (twice, 5), (twice, 6))] == [
        0,
        255,
        0,
        255,
    ]


# --- turns and effects


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"rotate_deg": 90}, (YELLOW, RED, GREEN, BLUE)),
        ({"rotate_deg": 180}, (BLUE, YELLOW, RED, GREEN)),
        ({"rotate_deg": 270}, (GREEN, BLUE, YELLOW, RED)),
        ({"flip": "horizontal"}, (GREEN, RED, YELLOW, BLUE)),
        ({"flip": "vertical"}, (YELLOW, BLUE, GREEN, RED)),
        ({"flip": "both"}, (BLUE, YELLOW, RED, GREEN)),
        ({"rotate_deg": 90, "flip": "horizontal"}, (RED, YELLOW, BLUE, GREEN)),
    ],
)
@pytest.mark.parametrize("orientation", [1, 3, 5, 6])
def test_rotate_then_flip_of_the_upright_picture(fields: dict[str, Any], expected: Any, orientation: int) -> None:
    picture = only(turned("PNG", orientation), **fields)

    assert picture.size == ((48, 64) if fields.get("rotate_deg") in (90, 270) else (64, 48))
    assert corners(picture) == expected


def test_the_box_is_that_of_the_rotated_picture() -> None:
    picture = only(QUARTERS, rotate_deg=90, width_px=30)

    assert picture.size == (30, 40)


def test_grayscale_keeps_the_brightness_and_the_transparency() -> None:
    source = Image.new("RGBA", (64, 48), (255, 0, 0, 128))

    assert only(QUARTERS, grayscale=True, format="jpeg").mode == "L"
    assert close(pixel(only(encoded(source, "PNG"), grayscale=True), 30, 20), (76, 76, 76, 128), most=2)


def test_blur_softens_an_edge_and_sharpen_overshoots_it() -> None:
    edge = encoded(Image.open(io.BytesIO(stripes((100, 100, 100), (150, 150, 150)))), "PNG")

    blurred, sharp = only(edge, blur_px=5), only(edge, sharpen_percent=200)

    assert 101 < pixel(blurred, 97, 150)[0] < 125 < pixel(blurred, 102, 150)[0] < 149
    assert pixel(sharp, 99, 150)[0] < 97
    assert pixel(sharp, 100, 150)[0] > 153


def test_blur_leaves_no_dark_edge_around_transparency() -> None:
    source = Image.new("RGBA", (60, 60), (0, 0, 0, 0))
    source.paste((255, 255, 255, 255), (20, 20, 40, 40))

    picture = only(encoded(source, "PNG"), blur_px=4)

    assert all(close(pixel(picture, x, 30)[:3], WHITE) for x in range(60) if pixel(picture, x, 30)[3] > 20)


@pytest.mark.parametrize("format_", ["jpeg", "png", "webp", "gif"])
def test_a_background_goes_under_transparency_in_every_format(format_: str) -> None:
    source = encoded(Image.new("RGBA", (64, 48), (0, 0, 0, 0)), "PNG")

    assert close(pixel(only(source, format=format_, background="#3366cc").convert("RGBA"), 9, 9), (51, 102, 204, 255))


# --- watermarks


def marked(watermark: dict[str, Any], mark: Image.Image, **fields: Any) -> Image.Image:
    """White, 200 x 100, with a watermark on it."""
    from functions.image.picture import render
    from functions.image.task import Task

    asked = output(watermark=Watermark(key="logo", **watermark), **fields)
    source = encoded(Image.new("RGB", (200, 100), WHITE), "PNG")
    logo = encoded(mark, "PNG")
    task = Task(outputs=(asked,), pixels_limit=10**6, frames_limit=9, watermarks={"logo": logo})
    result = render(task, io.BytesIO(source))
    assert not result.refused
    return opened(result.made[0])


def extent(picture: Image.Image) -> tuple[int, int, int, int] | None:
    """The box of all that is not white."""
    return picture.convert("L").point(lambda value: 255 if value < 250 else 0).getbbox()


@pytest.mark.parametrize(
    ("position", "box"),
    [
        ("top-left", (4, 4, 44, 24)),
        ("top", (80, 4, 120, 24)),
        ("right", (156, 40, 196, 60)),
        ("center", (80, 40, 120, 60)),
        ("bottom-right", (156, 76, 196, 96)),
        ("bottom-left", (4, 76, 44, 96)),
    ],
)
def test_a_watermark_is_where_it_is_asked_for_at_its_part_of_the_width(position: str, box: Any) -> None:
    picture = marked({"position": position, "margin_px": 4, "scale": 0.2}, Image.new("RGB", (80, 40), RED))

    assert extent(picture) == box
    assert pixel(picture, (box[0] + box[2]) // 2, (box[1] + box[3]) // 2) == RED


def test_a_watermark_is_as_opaque_as_it_is_asked_to_be_and_its_own_transparency_counts() -> None:
    logo = Image.new("RGBA", (40, 20), (255, 0, 0, 255))
    logo.paste((0, 0, 0, 0), (0, 0, 20, 20))

    picture = marked({"position": "top-left", "opacity": 0.5}, logo)

    assert (pixel(picture, 5, 10), close(pixel(picture, 35, 10), (255, 128, 128), most=2)) == (WHITE, True)


def test_a_tiled_watermark_repeats_with_its_margin_between() -> None:
    picture = marked({"tiled": True, "margin_px": 10, "scale": 0.2}, Image.new("RGB", (80, 40), RED))

    seen = [pixel(picture, x, 20) == RED for x in (15, 45, 55, 65, 95, 105, 115)]
    assert seen == [True, True, False, True, True, False, True]


def test_a_watermark_grows_with_dpr_and_is_never_higher_than_the_picture() -> None:
    picture = marked({"position": "center", "scale": 1.0}, Image.new("RGB", (10, 100), RED))

    assert extent(picture) == (95, 0, 105, 100)


def test_a_broken_watermark_refuses_the_output_and_is_named() -> None:
    from functions.image.picture import render
    from functions.image.task import Task

    asked = output(watermark=Watermark(key="logo.png"))

    result = render(
        Task(outputs=(asked,), pixels_limit=10**6, frames_limit=9, watermarks={"logo.png": b"?"}),
        io.BytesIO(QUARTERS),
    )

    assert (result.refused[0].field, result.refused[0].detail[:32]) == ("watermark", "the watermark logo.png: the sour")


# --- formats


def opened_first(content: bytes, **fields: Any) -> tuple[Picture, Image.Image]:
    picture = made(content, output(**fields)).made[0]
    return picture, Image.open(io.BytesIO(picture.content))


def test_jpeg_options_are_those_of_the_file() -> None:
    _, baseline = opened_first(PHOTO, format="jpeg", width_px=200, progressive=False, subsampling="4:4:4")
    _, usual = opened_first(PHOTO, format="jpeg", width_px=200)

    assert ("progressive" in baseline.info, baseline.layer[0][1:3]) == (False, (1, 1))  # type: ignore[attr-defined]
    assert ("progressive" in usual.info, usual.layer[0][1:3]) == (True, (2, 2))  # type: ignore[attr-defined]


def test_lossless_webp_keeps_every_pixel() -> None:
    noise = Image.effect_noise((64, 48), 200).convert("RGB")

    picture = only(encoded(noise, "PNG"), format="webp", lossless=True)

    assert picture.convert("RGB").tobytes() == noise.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["png", "gif"])
def test_a_palette_has_no_more_colours_than_asked(format_: str) -> None:
    for content in (PHOTO, encoded(Image.open(io.BytesIO(PHOTO)).convert("RGBA"), "PNG")):
        picture = only(content, format=format_, colors=16, width_px=200)

        assert len(picture.getcolors(1 << 16) or range(999)) <= 16


@pytest.mark.slow
def test_quality_speed_and_subsampling_change_an_avif() -> None:
    sizes = {
        len(made(PHOTO, output(format="avif", width_px=200, **fields)).made[0].content)
        for fields in ({}, {"quality": 30}, {"speed": 4}, {"subsampling": "4:4:4"})
    }

    assert len(sizes) == 4


@pytest.mark.parametrize("format_", ["gif", "tiff"])
def test_gif_and_tiff_are_written(format_: str) -> None:
    assert close(corners(only(QUARTERS, format=format_)), CORNERS)


def test_a_gif_keeps_holes_and_no_half_transparency() -> None:
    source = Image.new("RGBA", (60, 20), (0, 0, 0, 0))
    source.paste((255, 0, 0, 255), (20, 0, 40, 20))
    source.paste((0, 0, 255, 200), (40, 0, 60, 20))

    picture = only(encoded(source, "PNG"), format="gif").convert("RGBA")

    assert [pixel(picture, x, 10)[3] for x in (5, 30, 50)] == [0, 255, 255]
    assert close(pixel(picture, 30, 10)[:3], RED)


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["jpeg", "webp", "avif", "png", "gif"])
def test_max_bytes_is_kept_with_the_best_quality_that_fits(format_: str) -> None:
    whole = made(PHOTO, output(format=format_, width_px=300)).made[0]
    limit = len(whole.content) // 3

    small = made(PHOTO, output(format=format_, width_px=300, max_bytes=limit)).made[0]

    assert len(small.content) <= limit
    if small.quality:
        better = made(PHOTO, output(format=format_, width_px=300, quality=small.quality + 1)).made[0]
        assert len(better.content) > limit


def test_max_bytes_that_is_large_enough_changes_nothing() -> None:
    whole = made(PHOTO, output(format="jpeg", width_px=300)).made[0]

    assert made(PHOTO, output(format="jpeg", width_px=300, max_bytes=10**6)).made[0] == whole


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "reached"),
    [
        ({"format": "webp"}, "bytes as webp at quality 1"),
        ({"format": "png"}, "bytes as png of 2 colours"),
        ({"format": "tiff"}, "bytes as tiff"),
        ({"format": "auto", "formats": ("jpeg", "webp")}, "at quality 1"),
    ],
)
def test_max_bytes_that_cannot_be_kept_refuses_the_output_with_the_best_size(fields: Any, reached: str) -> None:
    field, detail = refusal(PHOTO, width_px=300, max_bytes=100, **fields)

    assert field == "max_bytes"
    assert detail.startswith("the file must have at most 100 bytes, got ")
    assert detail.endswith(reached)


def test_auto_takes_the_smallest_of_the_allowed_formats() -> None:
    drawing = encoded(quarters(400, 300), "PNG")

    assert made(PHOTO, output(format="auto", width_px=400)).made[0].format == "avif"
    assert made(PHOTO, output(format="auto", width_px=400, formats=("jpeg", "webp"))).made[0].format == "webp"
    assert made(drawing, output(format="auto", formats=("jpeg", "png"))).made[0].format == "png"


def test_auto_takes_no_jpeg_for_a_transparent_picture() -> None:
    source = Image.effect_noise((64, 48), 200).convert("RGBA")
    source.putalpha(90)

    assert made(encoded(source, "PNG"), output(format="auto", formats=("jpeg", "png"))).made[0].format == "png"


# --- animations

COLOURS = (RED, GREEN, BLUE)


def animation(format_: str, **options: Any) -> bytes:
    """Three frames in three colours, shown for 100, 200 and 300 ms, twice as wide as high."""
    drawn = [Image.new("RGB", (64, 32), colour) for colour in COLOURS]
    return encoded(drawn[0], format_, save_all=True, append_images=drawn[1:], duration=[100, 200, 300], **options)


@pytest.mark.parametrize("target", ["gif", "webp", "png", "avif"])
@pytest.mark.parametrize("origin", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_keeps_its_frames_and_their_time(origin: str, target: str) -> None:
    picture = made(animation(origin, loop=0), output(format=target, width_px=32, quality=95)).made[0]

    result = Image.open(io.BytesIO(picture.content))
    durations = []
    for index in range(3):
        result.seek(index)
        result.load()
        durations.append(round(result.info["duration"]))
    assert (picture.frames, picture.width_px, picture.height_px) == (3, 32, 16)
    assert durations == [100, 200, 300]
    assert all(
        close(pixel(frame, 16, 8)[:3], colour, most=16)
        for frame, colour in zip(frames(picture.content), COLOURS, strict=True)
    )


@pytest.mark.parametrize("target", ["gif", "webp", "png"])
@pytest.mark.parametrize(("loop", "plays"), [({}, 1), ({"loop": 0}, 0), ({"loop": 4}, 5)])
def test_an_animation_is_shown_as_often_as_its_source(target: str, loop: dict[str, int], plays: int) -> None:
    picture = made(animation("GIF", **loop), output(format=target)).made[0]

    written = Image.open(io.BytesIO(picture.content)).info.get("loop")
    assert written == (plays if target != "gif" else {1: None, 0: 0, 5: 4}[plays])


@pytest.mark.parametrize("target", ["gif", "webp", "png"])
def test_a_moving_shape_leaves_no_trace_on_a_transparent_ground(target: str) -> None:
    drawn = []
    for index in range(3):
        frame = Image.new("RGBA", (60, 20), (0, 0, 0, 0))
        ImageDraw.Draw(frame).ellipse((20 * index, 0, 20 * index + 20, 20), (255, 0, 0, 255))
        drawn.append(frame)
    content = encoded(drawn[0], "WEBP", save_all=True, append_images=drawn[1:], duration=100, lossless=True)

    shown = frames(made(content, output(format=target)).made[0].content)

    alphas = [[pixel(frame, x, 10)[3] for x in (10, 30, 50)] for frame in shown]
    assert alphas == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


def test_an_animation_is_cropped_and_turned_in_every_frame() -> None:
    picture = made(animation("GIF"), output(format="gif", mode="fill", width_px=8, height_px=16, rotate_deg=90)).made[0]

    assert [each.size for each in frames(picture.content)] == [(8, 16)] * 3


def test_animated_and_still_outputs_of_one_source() -> None:
    result = made(
        animation("GIF"),
        output(name="still.jpg", format="jpeg"),
        output(name="moving.webp", format="webp"),
        output(name="still.webp", format="webp", animated=False),
    )

    assert [each.name for each in result.made] == ["still.jpg", "moving.webp", "still.webp"]
    assert [each.frames for each in result.made] == [1, 3, 1]
    assert result.frames == 3


def test_auto_keeps_an_animation_moving() -> None:
    picture = made(animation("GIF"), output(format="auto")).made[0]

    assert (picture.frames, picture.format in ("png", "webp", "avif")) == (3, True)


# --- metadata


def tagged() -> bytes:
    """A JPEG with a photographer, a camera, a place and a colour profile."""
    exif = Image.Exif()
    exif[Base.Orientation], exif[Base.Copyright], exif[Base.Artist], exif[Base.Make] = 6, "(c) Ann", "Ann", "Camera"
    exif[IFD.Exif] = {Base.ExposureTime: 0.01, Base.MakerNote: b"where I was"}
    exif[IFD.GPSInfo] = {1: "N", 2: (52.0, 30.0, 0.0)}
    picture = Image.new("RGB", (64, 48), RED)
    return encoded(picture, "JPEG", quality=95, exif=exif, icc_profile=exchanged_profile())


@pytest.mark.parametrize("target", ["jpeg", "png", "webp", "avif", "tiff"])
@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ((), set()),
        (("copyright",), {"Ann"}),
        (("exif",), {"Ann", "Camera", "exposure"}),
        (("gps",), {"place"}),
        (("exif", "gps"), {"Ann", "Camera", "exposure", "place"}),
    ],
)
def test_metadata_is_kept_by_name_only(target: str, keep: tuple[str, ...], kept: set[str]) -> None:
    picture = made(tagged(), output(format=target, keep=keep)).made[0]

    exif = Image.open(io.BytesIO(picture.content)).getexif()
    found = {exif.get(Base.Artist), exif.get(Base.Make)} - {None}
    found |= {"exposure"} if exif.get_ifd(IFD.Exif).get(Base.ExposureTime) else set()
    found |= {"place"} if exif.get_ifd(IFD.GPSInfo) else set()
    assert found == kept
    assert exif.get(Base.Orientation) in (None, 1)
    assert b"where I was" not in picture.content


def test_a_kept_profile_leaves_the_pixels_alone_and_goes_along() -> None:
    kept = opened(made(tagged(), output(keep=("icc",))).made[0])
    converted = opened(made(tagged(), output()).made[0])

    assert (kept.info.get("icc_profile"), close(pixel(kept, 9, 9), RED)) == (exchanged_profile(), True)
    assert (converted.info.get("icc_profile"), close(pixel(converted, 9, 9), (0, 255, 0))) == (None, True)


@pytest.mark.parametrize("fields", [{"format": "gif"}, {"grayscale": True}])
def test_a_profile_that_cannot_go_along_is_converted(fields: dict[str, Any]) -> None:
    picture = only(tagged(), keep=("icc",), **fields)

    assert "icc_profile" not in picture.info
    green = {"format": (0, 255, 0), "grayscale": (150, 150, 150)}[next(iter(fields))]
    assert close(pixel(picture.convert("RGB"), 9, 9), green)


# --- placeholders


def test_the_blurhash_is_that_of_the_reference() -> None:
    """The hashes are those of the PyPI package blurhash 1.1.5, for the same pixels."""
    bands = (Image.linear_gradient("L"), Image.radial_gradient("L"), Image.new("L", (256, 256), 40))
    gradients = Image.merge("RGB", bands).resize((32, 24))

    assert blurhash(gradients) == "LyHV2Goeg]ox2rWpfjW:yQj@fjj@"
    assert blurhash(gradients.transpose(Image.Transpose.ROTATE_90)) == "TyHV2G2ryQoeWpj@g]fjfjoxW:j@"


def test_the_dominant_colour_is_that_of_most_pixels_that_can_be_seen() -> None:
    logo = Image.new("RGBA", (60, 20), (0, 0, 0, 0))
    logo.paste((200, 30, 30, 255), (0, 0, 10, 20))
    logo.paste((30, 30, 200, 255), (10, 0, 15, 20))

    assert dominant_color(logo) == "#c81e1e"
    assert made(encoded(quarters(300, 100).crop((0, 0, 100, 40)), "PNG")).dominant_color == "#ff0000"
    assert dominant_color(Image.new("RGBA", (4, 4))) == "#ffffff"
