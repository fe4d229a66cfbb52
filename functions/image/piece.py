"""One output on its way from a plan, through the frames of the source, to a file."""

import io
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Self

from PIL import Image

from functions.image import effects
from functions.image.colour import Colours, opaque, plain
from functions.image.decoding import Source, frames_of, open_source
from functions.image.detail import densest, turned
from functions.image.encoding import ANIMATED, WITH_QUALITY, Extras, Strip, encode
from functions.image.geometry import Plan, check_size, plan
from functions.image.metadata import kept_exif
from functions.image.pyramid import FINE, QUICK, Pyramid
from functions.image.task import Output, OutputRefused, Picture, Task

EXACT_QUALITY: Final = 90


@dataclass
class Piece:
    """What is known of an output before anything is decoded, and the frames drawn so far."""

    index: int
    output: Output
    plan: Plan
    exif: bytes | None
    mark: Image.Image | None
    animated: bool
    profile: bytes | None = None
    frames: list[Image.Image] = field(default_factory=list)

    @classmethod
    def begun(cls, index: int, task: Task, source: Source) -> Self:
        """Raise OutputRefused for what can be told before the source is decoded."""
        output = task.outputs[index]
        planned = plan(output, source.size_px, source.turn)
        animated = output.animated and source.frames > 1 and _can_move(output)
        check_size(
            output,
            planned.canvas_px,
            side_limit_px=task.side_limit_px,
            pixels_limit=task.pixels_limit,
            frames=source.frames if animated else 1,
        )
        return cls(index, output, planned, kept_exif(source.image, output.keep), _mark(output, task), animated)

    @property
    def gap(self) -> float:
        """How much larger than the output is what it is resized from, at least (pyramid.py)."""
        lossy = self.output.format in (*WITH_QUALITY, "auto") and not self.output.lossless
        return QUICK if lossy and self.output.quality < EXACT_QUALITY else FINE

    def place(self, source: Source, pyramid: Pyramid) -> None:
        """Find where a smart crop goes, in the first frame: it must not jump from one frame to the next."""
        if self.output.gravity == "smart":
            self.plan = plan(self.output, source.size_px, source.turn, partial(densest, pyramid))

    def draw(self, source: Source, pyramid: Pyramid, colours: Colours) -> None:
        """Add a frame."""
        output, image = self.output, pyramid.resized(self.plan.part, self.plan.size_px, gap=self.gap)
        if "icc" in output.keep and output.format != "gif" and not output.grayscale and colours.fits(image):
            self.profile, image = source.profile, plain(image)
        else:
            image = colours.to_srgb(image)
        image = effects.applied(turned(image, self.plan.turn), output)
        image = effects.padded(image, self.plan, output.background)
        if self.mark and output.watermark:
            image = effects.watermarked(image, self.mark, output.watermark, output.dpr)
        self.frames.append(opaque(image, output.background) if output.background else image)

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


def _can_move(output: Output) -> bool:
    formats = output.formats if output.format == "auto" else (output.format,)
    return any(each in ANIMATED for each in formats)


def _mark(output: Output, task: Task) -> Image.Image | None:
    """The watermark, upright, in sRGB and RGBA."""
    if output.watermark is None:
        return None
    key = output.watermark.key
    try:
        source = open_source(io.BytesIO(task.watermarks[key]), task)
        frame = next(frames_of(source, needed_scale=1.0, all_frames=False))
    except ValueError as error:
        raise OutputRefused("watermark", f"the watermark {key}: {error}") from error
    return turned(Colours(source.profile).to_srgb(frame.image), source.turn).convert("RGBA")
