"""What the function asks of its child process, and what the child answers.

Apart from picture.py, so that the function itself never loads Pillow: that would be 40 ms of its start from zero.
"""

from typing import Literal

from msgspec import Struct


class Output(Struct, frozen=True, kw_only=True):
    """One picture to make; the fields are those of the contract's ImageOutput, without their defaults."""

    name: str
    format: Literal["jpeg", "png", "webp", "avif"]
    width_px: int | None
    height_px: int | None
    mode: Literal["fit", "fill"]
    quality: int


class Task(Struct, frozen=True, kw_only=True):
    """A source and what to make of it. `pixels_limit` is for all frames of the source together."""

    content: bytes
    outputs: tuple[Output, ...]
    pixels_limit: int
    frames_limit: int


class Picture(Struct, frozen=True, kw_only=True):
    """A picture that was made."""

    name: str
    format: str
    width_px: int
    height_px: int
    content: bytes


class Pictures(Struct, frozen=True, kw_only=True):
    """The pictures in the order of the task's outputs; format and size are the source's, after EXIF rotation."""

    format: str
    width_px: int
    height_px: int
    made: tuple[Picture, ...]
