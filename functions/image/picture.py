"""Decodes one picture once and makes every output of it: upright, in sRGB, without metadata unless it is asked for.

Run it in a child process (functions/sandbox/sandbox.py): image decoders have had bugs that run an attacker's code. It
sets Pillow's process-wide settings as the child needs them.

Not done: an HDR gain map is dropped, and colours outside of sRGB are cut off. A picture of 32-bit pixels is refused,
since nothing says which value is white.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from msgspec.structs import replace
from PIL import AvifImagePlugin, Image

from functions.image.colour import WHITE, Colours, opaque
from functions.image.decoding import open_source
from functions.image.detail import sample_size_px, turned
from functions.image.geometry import Box
from functions.image.piece import Piece
from functions.image.placeholder import SAMPLE_SIDE_PX, blurhash, dominant_color
from functions.image.pyramid import Pyramid
from functions.image.source import Source
from functions.image.task import OutputRefusal, OutputRefused, Picture, Pictures, Task
from functions.sandbox.sandbox import progress


def render(task: Task, file: IO[bytes]) -> Pictures:
    """Make the pictures, or tell which outputs cannot be made; raise ValueError when it is the source's fault."""
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    source = open_source(file, task)
    width_px, height_px = source.size_px
    result = Pictures(format=source.format, width_px=width_px, height_px=height_px, frames=source.frames)
    pieces, refused = list[Piece](), list[OutputRefusal]()
    for index in range(len(task.outputs)):
        with _gathered(refused, index):
            pieces.append(Piece.begun(index, task, source))
    if refused:
        return replace(result, refused=tuple(refused))
    made, sample = _drawn(source, pieces, refused)
    if refused:
        return replace(result, refused=tuple(refused))
    return replace(
        result,
        made=tuple(made[index] for index in sorted(made)),
        dominant_color=dominant_color(sample),
        blurhash=blurhash(opaque(sample, WHITE)),
    )


def _drawn(source: Source, pieces: list[Piece], refused: list[OutputRefusal]) -> tuple[dict[int, Picture], Image.Image]:
    """The files, and a small sample of the whole source, from one pass over its frames."""
    colours, durations_ms, made = Colours(source.profile), list[int](), dict[int, Picture]()
    scale = max(piece.gap * piece.plan.scale for piece in pieces)
    for frame in source.decoded(needed_scale=scale, all_frames=any(piece.animated for piece in pieces)):
        pyramid = Pyramid(frame.image, frame.scale)
        durations_ms.append(frame.duration_ms)
        if len(durations_ms) == 1:
            sample = _sample(source, pyramid, colours)
        for piece in pieces if len(durations_ms) == 1 else [each for each in pieces if each.animated]:
            if len(durations_ms) == 1:
                piece.place(source, pyramid)
            piece.draw(source, pyramid, colours)
            # at once, so that the pixels of many outputs are not kept side by side
            if not piece.animated:
                with _gathered(refused, piece.index):
                    made[piece.index] = piece.finish(durations_ms, source.plays)
                progress(f"{len(made)} of {len(pieces)} pictures")
    for piece in pieces:
        if piece.animated:
            with _gathered(refused, piece.index):
                made[piece.index] = piece.finish(durations_ms, source.plays)
            progress(f"{len(made)} of {len(pieces)} pictures")
    return made, sample


def _sample(source: Source, pyramid: Pyramid, colours: Colours) -> Image.Image:
    part = Box(0, 0, *source.stored_px)
    image = pyramid.sampled(sample_size_px(part, SAMPLE_SIDE_PX))
    return turned(colours.to_srgb(image), source.turn)


@contextmanager
def _gathered(refused: list[OutputRefusal], index: int) -> Iterator[None]:
    try:
        yield
    except OutputRefused as error:
        refused.append(OutputRefusal(output=index, field=error.field, detail=error.detail))
