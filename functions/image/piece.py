"""One output on its way from a plan, through the frames of the source, to a file."""

import io
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Self

from msgspec.structs import replace
from PIL import Image

from functions.image import effects
from functions.image.colour import Colours, opaque, plain
from functions.image.decoding import open_source
from functions.image.detail import densest, turned
from functions.image.encoding import ANIMATED, WITH_QUALITY, Extras, Strip, encode
from functions.image.geometry import Plan, check_size, plan
from functions.image.metadata import ExifBlock, kept_exif
from functions.image.pyramid import DRAWN, FINE, QUICK, Pyramid
from functions.image.source import Source
from functions.image.task import Output, OutputRefused, Picture, Task, Watermark

EXACT_QUALITY: Final = 90
GREY: Final = ("jpeg", "png", "tiff")  # the formats that have it


@dataclass
class Piece:
    """What is known of an output before anything is decoded, and the frames drawn so far."""

    index: int
    output: Output
    plan: Plan
    exif: ExifBlock | None
    mark: Image.Image | None
    animated: bool
    has_pixels: bool
    profile: bytes | None = None
    frames: list[Image.Image] = field(default_factory=list)

    @classmethod
    def begun(cls, index: int, task: Task, source: Source) -> Self:
        """Raise OutputRefused, or ValueError for the source, for what can be told before that is decoded."""
        output = task.outputs[index]
        if not source.has_pixels:
            output = replace(output, enlarge=True)
        planned = plan(output, source.size_px, source.turn)
        animated = output.animated and source.frames > 1 and _can_move(output)
        source.check(_gap(output, has_pixels=source.has_pixels) * planned.scale)
        check_size(
            output,
            planned.canvas_px,
            side_limit_px=task.side_limit_px,
            pixels_limit=task.pixels_limit,
            frames=source.frames if animated else 1,
        )
        mark = _mark(output.watermark, task, planned.canvas_px[0]) if output.watermark else None
        return cls(index, output, planned, kept_exif(source, output.keep), mark, animated, source.has_pixels)

    @property
    def gap(self) -> float:
        """How much larger than the output is what it is resized from, at least (pyramid.py)."""
        return _gap(self.output, has_pixels=self.has_pixels)

    def place(self, source: Source, pyramid: Pyramid) -> None:
        """Find where a smart crop goes, in the first frame: it must not jump from one frame to the next."""
        if self.output.gravity == "smart":
            self.plan = plan(self.output, source.size_px, source.turn, partial(densest, pyramid))

    def draw(self, source: Source, pyramid: Pyramid, colours: Colours) -> None:
        """Add a frame."""
        output, image = self.output, pyramid.resized(self.plan.part, self.plan.size_px, gap=self.gap)
        if self._keeps_profile(image) and colours.fits(image):
            self.profile, image = source.profile, plain(image)
        else:
            image = colours.to_srgb(image)
        image = effects.applied(turned(image, self.plan.turn), output)
        image = effects.padded(image, self.plan, output.background)
        if self.mark and output.watermark:
            image = effects.watermarked(image, self.mark, output.watermark, output.dpr)
        self.frames.append(opaque(image, output.background) if output.background else image)

    def _keeps_profile(self, image: Image.Image) -> bool:
        """Whether the pixels stay in the colours that the source's profile is for."""
        output = self.output
        stays_grey = (
            output.format in GREY and self.plan.turn.size_px(image.size) == self.plan.canvas_px and not self.mark
        )
        in_its_colours = image.mode in ("RGB", "RGBA") or (image.mode == "L" and stays_grey)
        return "icc" in output.keep and output.format != "gif" and not output.grayscale and in_its_colours

    def finish(self, durations_ms: list[int], plays: int) -> Picture:
        """The file; raise OutputRefused when it cannot be made small enough."""
        strip = Strip(tuple(self.frames), tuple(durations_ms), plays)
        file = encode(strip, self.output, Extras(self.exif, self.profile))
        width_px, height_px = strip.frames[0].size
        frames, self.frames = len(self.frames), []
        return Picture(
            name=self.output.name,
            format=file.output.format,
            width_px=width_px,
            height_px=height_px,
            content=file.content,
            quality=file.quality,
            frames=frames,
        )


def _gap(output: Output, *, has_pixels: bool) -> float:
    if not has_pixels:
        return DRAWN
    lossy = output.format in (*WITH_QUALITY, "auto") and not output.lossless
    return QUICK if lossy and output.quality < EXACT_QUALITY else FINE


def _can_move(output: Output) -> bool:
    formats = output.formats if output.format == "auto" else (output.format,)
    return any(each in ANIMATED for each in formats)


def _mark(wanted: Watermark, task: Task, within_px: int) -> Image.Image:
    """The watermark, upright, in sRGB and RGBA; one that is drawn is as wide as it will be."""
    try:
        source = open_source(io.BytesIO(task.watermarks[wanted.key]), task)
        scale = 1.0 if source.has_pixels else within_px * wanted.scale / source.size_px[0]
        frame = next(source.decoded(needed_scale=scale, all_frames=False))
    except ValueError as error:
        raise OutputRefused("watermark", f"the watermark {wanted.key}: {error}") from error
    return turned(Colours(source.profile).to_srgb(frame.image), source.turn).convert("RGBA")
