"""What an animation shows: places that no frame covers, or that one has left, in each format that has them."""

import io
import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from PIL import Image

from functions.image.decoding import open_source
from functions.image.task import Task
from tests.functions.image.judges import vips
from tests.functions.image.test_image import Pixel, encoded, made, output, pixel

CANVAS_PX = (24, 16)
KEEP, CLEAR, RESTORE = range(3)
NOTHING: Pixel = (0, 0, 0, 0)
COLOURS = ((255, 0, 0), (0, 160, 0), (0, 0, 255), (250, 240, 0), (10, 10, 10), (255, 255, 255), (200, 0, 200))
HOLE = len(COLOURS)  # as a colour's number: the pixel is not there


@dataclass
class Drawn:
    """A frame as it is drawn: its place, the numbers of its pixels' colours, what becomes of it."""

    box: tuple[int, int, int, int]  # x, y, width, height
    pixels: list[int]
    disposal: int = KEEP
    replaces: bool = False


def frame(box: tuple[int, int, int, int], colour: int, disposal: int = KEEP) -> Drawn:
    return Drawn(box, [colour] * (box[2] * box[3]), disposal)


def drawn_at_random(seed: int, *, holes: bool, replacing: bool = False) -> list[Drawn]:
    dice, result = random.Random(seed), []  # noqa: S311  # pictures, not secrets
    for _ in range(5):
        x, y = dice.randrange(CANVAS_PX[0] - 2), dice.randrange(CANVAS_PX[1] - 2)
        width, height = dice.randint(1, CANVAS_PX[0] - x), dice.randint(1, CANVAS_PX[1] - y)
        pixels = [dice.randrange(HOLE + 1 if holes else HOLE) for _ in range(width * height)]
        result.append(Drawn((x, y, width, height), pixels, dice.randrange(3), replacing and dice.random() < 0.5))
    return result


def as_the_standards_say(drawn: list[Drawn]) -> list[list[Pixel]]:
    """The pixels of each frame as it is shown, from the top left; where nothing is, NOTHING."""
    shown, canvas = list[list[Pixel]](), [NOTHING] * (CANVAS_PX[0] * CANVAS_PX[1])
    for each in drawn:
        before, (x, y, width, height) = list(canvas), each.box
        places = [(y + row) * CANVAS_PX[0] + x + column for row in range(height) for column in range(width)]
        for place, number in zip(places, each.pixels, strict=True):
            if number != HOLE:
                canvas[place] = (*COLOURS[number], 255)
            elif each.replaces:
                canvas[place] = NOTHING
        shown.append(list(canvas))
        if each.disposal == CLEAR:
            for place in places:
                canvas[place] = NOTHING
        canvas = before if each.disposal == RESTORE else canvas
    return shown


def gif(drawn: list[Drawn], *, transparent: bool = False) -> bytes:
    """Pixels that are not compressed: codes of eight bits, and a clear code before there would be more."""
    table = b"".join(bytes(each) for each in COLOURS) + bytes(3) * (128 - len(COLOURS))
    content = b"GIF89a" + struct.pack("<HHBBB", *CANVAS_PX, 0xF6, 4, 0) + table
    for each in drawn:
        codes = (
            b"".join(b"\x80" + bytes(each.pixels[at : at + 100]) for at in range(0, len(each.pixels), 100)) + b"\x81"
        )
        blocks = b"".join(bytes([len(codes[at : at + 255])]) + codes[at : at + 255] for at in range(0, len(codes), 255))
        flags = (each.disposal + 1) << 2 | (transparent or HOLE in each.pixels)
        content += b"\x21\xf9\x04" + struct.pack("<BHB", flags, 7, HOLE) + b"\0"
        content += b"\x2c" + struct.pack("<4HB", *each.box, 0) + b"\x07" + blocks + b"\0"
    return content + b"\x3b"


def apng(drawn: list[Drawn], *, hidden: bool = False) -> bytes:
    """Of colours without transparency where no frame has a hole; `hidden`: with a picture that is no frame."""
    holes = any(HOLE in each.pixels for each in drawn)
    chunks = [(b"IHDR", struct.pack(">2I5B", *CANVAS_PX, 8, 6 if holes else 2, 0, 0, 0))]
    chunks += [(b"acTL", struct.pack(">2I", len(drawn), 0))]
    if hidden:
        row = b"\0" + (b"\x07\x07\x07\xff" if holes else b"\x07\x07\x07") * CANVAS_PX[0]
        chunks.append((b"IDAT", zlib.compress(row * CANVAS_PX[1])))
    for number, each in enumerate(drawn):
        x, y, width, height = each.box
        blending = 0 if each.replaces else 1
        chunks.append(
            (b"fcTL", struct.pack(">5I2H2B", 2 * number, width, height, x, y, 7, 100, each.disposal, blending))
        )
        colours = [NOTHING if n == HOLE else (*COLOURS[n], 255) for n in each.pixels]
        rows = [colours[at : at + width] for at in range(0, len(colours), width)]
        data = zlib.compress(b"".join(b"\0" + b"".join(bytes(p if holes else p[:3]) for p in row) for row in rows))
        first = number == 0 and not hidden
        chunks.append((b"IDAT", data) if first else (b"fdAT", struct.pack(">I", 2 * number + 1) + data))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in [*chunks, (b"IEND", b"")])


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def webp(drawn: list[Drawn], *, transparent: bool = False) -> bytes:
    """Its frames lie at even places."""
    frames = b""
    for each in drawn:
        x, y, width, height = each.box
        image = Image.new("RGBA", (width, height))
        image.putdata([NOTHING if n == HOLE else (*COLOURS[n], 255) for n in each.pixels])
        data = encoded(image, "WEBP", lossless=True, exact=True)
        data = data[data.index(b"VP8L") :]
        flags = (2 if each.replaces else 0) | (each.disposal == CLEAR)
        place = b"".join(value.to_bytes(3, "little") for value in (x // 2, y // 2, width - 1, height - 1, 70))
        frames += riff(b"ANMF", place + bytes([flags]) + data)
    sides = b"".join((side - 1).to_bytes(3, "little") for side in CANVAS_PX)
    flags = 0x02 | (0x10 if transparent else 0)
    extended = riff(b"VP8X", bytes([flags, 0, 0, 0]) + sides)
    return riff(b"RIFF", b"WEBP" + extended + riff(b"ANIM", b"\xff\xff\xff\xff\0\0") + frames)


def riff(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def shown(content: bytes) -> list[list[Pixel]]:
    """What the outputs are made of, frame by frame; where nothing is, NOTHING."""
    return [pixels(each) for each in decoded(content)]


def decoded(content: bytes) -> Iterator[Image.Image]:
    source = open_source(io.BytesIO(content), Task(outputs=(), pixels_limit=1_000_000, frames_limit=100))
    return (each.image for each in source.decoded(needed_scale=1.0, all_frames=True))


def pixels(image: Image.Image) -> list[Pixel]:
    data = image.convert("RGBA").tobytes()
    return [tuple(data[at : at + 4]) if data[at + 3] else NOTHING for at in range(0, len(data), 4)]


def as_vips_shows(content: bytes, suffix: str) -> list[list[Pixel]]:
    strip = vips(content, suffix, "[n=-1]")
    width, height = CANVAS_PX
    return [pixels(strip.crop((0, top, width, top + height))) for top in range(0, strip.height, height)]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("holes", [False, True])
def test_a_gif_shows_what_the_standard_says_and_another_reader_shows(seed: int, holes: bool) -> None:
    drawn = drawn_at_random(seed, holes=holes)

    assert shown(gif(drawn)) == as_the_standards_say(drawn)
    # libvips, too, paints it black where no frame has a transparent colour, used or not
    assert as_vips_shows(gif(drawn, transparent=True), ".gif") == as_the_standards_say(drawn)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("hidden", [False, True])
def test_an_animated_png_shows_what_the_standard_says(seed: int, holes: bool, hidden: bool) -> None:
    drawn = drawn_at_random(seed, holes=holes, replacing=True)

    assert shown(apng(drawn, hidden=hidden)) == as_the_standards_say(drawn)


def even(drawn: list[Drawn]) -> list[Drawn]:
    """As a WebP can have it: at even places, and disposed to nothing or not at all."""
    for each in drawn:
        each.box = (each.box[0] // 2 * 2, each.box[1] // 2 * 2, *each.box[2:])
        each.disposal = min(each.disposal, CLEAR)
    return drawn


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("transparent", [False, True])
def test_an_animated_webp_shows_what_the_standard_says_and_another_reader_shows(seed: int, transparent: bool) -> None:
    drawn = even(drawn_at_random(seed, holes=transparent))
    content = webp(drawn, transparent=transparent)

    assert shown(content) == as_the_standards_say(drawn)
    assert as_vips_shows(webp(drawn, transparent=True), ".webp") == as_the_standards_say(drawn)


# a banner without transparency, and a badge that comes and goes
BADGE = [frame((0, 0, 24, 16), 0), frame((4, 4, 8, 6), 1, CLEAR), frame((14, 8, 4, 4), 2)]


@pytest.mark.parametrize("target", ["gif", "png", "webp"])
@pytest.mark.parametrize("origin", [gif, apng, webp], ids=["gif", "apng", "webp"])
def test_a_cleared_place_is_transparent_in_the_output_and_not_black(origin: object, target: str) -> None:
    content = origin(BADGE)  # type: ignore[operator]  # one of the three above

    picture = made(content, output(format=target, lossless=target == "webp")).made[0]

    file = Image.open(io.BytesIO(picture.content))
    file.seek(2)
    assert pixel(file.convert("RGBA"), 6, 6)[3] == 0
    assert pixel(file.convert("RGBA"), 15, 9) == (*COLOURS[2], 255)
    assert pixel(file.convert("RGBA"), 0, 0) == (*COLOURS[0], 255)


@pytest.mark.parametrize("origin", [gif, apng, webp], ids=["gif", "apng", "webp"])
def test_a_place_that_no_frame_covers_is_white_in_a_jpeg_and_takes_the_background(origin: object) -> None:
    content = origin([frame((8, 4, 8, 8), 0), frame((8, 4, 8, 8), 1)])  # type: ignore[operator]  # as above

    white, green = made(
        content, output(name="a", format="jpeg", quality=95), output(name="b", animated=False, background="#00ff00")
    ).made

    assert min(pixel(Image.open(io.BytesIO(white.content)), 1, 1)) > 240
    assert pixel(Image.open(io.BytesIO(green.content)).convert("RGB"), 1, 1) == (0, 255, 0)


def test_a_still_gif_smaller_than_its_screen_leaves_the_rest_transparent() -> None:
    picture = made(gif([frame((2, 2, 6, 6), 3)])).made[0]

    assert pixels(Image.open(io.BytesIO(picture.content))) == as_the_standards_say([frame((2, 2, 6, 6), 3)])[0]


def test_the_hidden_picture_of_an_animated_png_is_no_frame() -> None:
    result = made(apng(BADGE, hidden=True), output(format="gif"), output(name="b", animated=False))

    assert result.frames == result.made[0].frames == 3
    assert pixel(Image.open(io.BytesIO(result.made[1].content)).convert("RGB"), 0, 0) == COLOURS[0]


@pytest.mark.parametrize("origin", [gif, apng, webp], ids=["gif", "apng", "webp"])
def test_an_animation_that_is_cut_short_is_refused(origin: object) -> None:
    content: bytes = origin(BADGE)  # type: ignore[operator]  # as above

    with pytest.raises(ValueError, match="corrupt or cut short"):
        made(content[: len(content) - 20], output(format="webp"))


def test_a_frame_that_claims_more_than_its_canvas_is_refused_before_it_is_decoded() -> None:
    content = gif([frame((0, 0, 24, 16), 0), frame((0, 0, 24, 16), 1)])
    at = content.rindex(b"\x2c" + struct.pack("<4H", 0, 0, 24, 16))
    bomb = content[:at] + b"\x2c" + struct.pack("<4H", 0, 0, 65_000, 65_000) + content[at + 9 :]

    with pytest.raises(ValueError, match="a frame must have 1 to 1048576 pixels, got 65000 x 65000"):
        list(decoded(bomb))
