"""Resizes and converts one picture into every output that the job asks for, and stores them."""

from dataclasses import dataclass

import msgspec

from events.http import Event
from events.problem import FieldError, JobFailed
from events.types import Artifact, ImageArtifact, ImageCompleted, ImageRequested, ImageSource
from functions.image.presets import Presets
from functions.image.task import Output, Picture, Pictures, Task
from functions.net.guard import Guard
from functions.runtime.adapter import function, system_clock
from functions.runtime.progress import slow_progress
from functions.runtime.settings import from_environment
from functions.sandbox.sandbox import Crashed, Handlers, LimitExceeded, Rejected, ResourceLimits, Sandbox
from functions.storage.inputs import load
from functions.storage.ledger import ReplyLedger
from functions.storage.store import Store

READABLE = ("jpeg", "png", "webp", "gif", "tiff", "avif", "bmp", "heic", "svg", "pdf")


@dataclass(frozen=True)
class Settings:
    """The function's environment; `pixels_limit` counts all frames, `memory_limit_bytes` come on top of Pillow."""

    store_url: str
    store_public_url: str | None = None
    store_names_secret: str | None = None
    allowed_networks: str = ""
    presets: str = ""
    presets_only: bool = False
    source_formats: str = ",".join(READABLE)
    source_limit_bytes: int = 25_000_000
    pixels_limit: int = 100_000_000
    frames_limit: int = 100
    side_limit_px: int = 16_384
    result_limit_bytes: int = 64 << 20
    fetch_timeout_s: float = 10.0
    cpu_limit_s: int = 20
    timeout_s: float = 30.0
    memory_limit_bytes: int = 2 << 30
    sandbox_walls: str = "wanted"

    def __post_init__(self) -> None:
        Guard.parse(self.allowed_networks)
        Presets.parse(self.presets, only=self.presets_only)
        if unknown := sorted({*self.formats} - {*READABLE}):
            raise ValueError(f"SOURCE_FORMATS must be of {', '.join(READABLE)}, got {', '.join(unknown)}")

    @property
    def formats(self) -> tuple[str, ...]:
        """What may be read."""
        return tuple(each.strip() for each in self.source_formats.split(","))


settings = from_environment(Settings)
store = Store(settings.store_url, public_url=settings.store_public_url, names_secret=settings.store_names_secret)
guard = Guard.parse(settings.allowed_networks)
presets = Presets.parse(settings.presets, only=settings.presets_only)
# a child's memory comes in huge pages and is not given back before its end: 15 % off the time of a large picture
tunables = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=4294967296"
sandbox = Sandbox(
    preload=("functions.image.picture",),
    env={"GLIBC_TUNABLES": tunables, "PILLOW_BLOCKS_MAX": "32"},
    walls=settings.sandbox_walls,
)
limits = ResourceLimits(
    timeout_s=settings.timeout_s,
    cpu_s=settings.cpu_limit_s,
    memory_bytes=settings.memory_limit_bytes,
    result_limit_bytes=settings.result_limit_bytes,
    file_bytes=0,  # pictures are made in memory
)


@function(ImageRequested, ledger=ReplyLedger(store))
def handle(job: ImageRequested, event: Event) -> ImageCompleted:
    """One source in, its pictures out, decoded once and never in this process."""
    outputs = presets.outputs(job.outputs)
    content = load(
        job.source,
        store=store,
        guard=guard,
        limit_bytes=settings.source_limit_bytes,
        timeout_s=settings.fetch_timeout_s,
    )
    pictures = _render(content, outputs, job.page)
    return ImageCompleted(
        source=ImageSource(
            format=pictures.format,
            width_px=pictures.width_px,
            height_px=pictures.height_px,
            size_bytes=len(content),
            frames=pictures.frames,
            dominant_color=pictures.dominant_color,
            blurhash=pictures.blurhash,
        ),
        artifacts=tuple(_store(event, each) for each in pictures.made),
    )


def _render(content: bytes, outputs: tuple[Output, ...], page: int) -> Pictures:
    watermarks = dict.fromkeys(each.watermark.key for each in outputs if each.watermark)
    task = Task(
        outputs=outputs,
        pixels_limit=settings.pixels_limit,
        frames_limit=settings.frames_limit,
        side_limit_px=settings.side_limit_px,
        page=page,
        formats=settings.formats,
        watermarks={key: _watermark(key) for key in watermarks},
    )
    try:
        pictures = sandbox.run(
            "functions.image.picture:render",
            task,
            content,
            result=Pictures,
            limits=limits,
            handlers=Handlers(on_progress=slow_progress()),
        )
    except Rejected as error:
        raise JobFailed("source-refused", str(error)) from error
    except LimitExceeded as error:
        raise JobFailed("limit-exceeded", f"making the pictures {error}") from error
    except Crashed as error:
        if error.code is None:  # a bug of ours, not a decoder's end
            raise
        raise JobFailed("source-corrupt", f"decoding the source failed: {error}") from error
    if pictures.refused:
        errors = tuple(
            FieldError(pointer=f"#/outputs/{each.output}/{each.field}", detail=each.detail) for each in pictures.refused
        )
        named = (f"{outputs[each.output].name}: {each.detail}" for each in pictures.refused)
        raise JobFailed("output-refused", "; ".join(named), errors)
    return pictures


def _watermark(key: str) -> bytes:
    try:
        return store.get(key, limit_bytes=settings.source_limit_bytes)
    except ValueError as error:  # JobFailed, and obstore's for a key such as "../x"
        raise JobFailed("watermark-refused", f"the watermark: {error}") from error


def _store(event: Event, picture: Picture) -> ImageArtifact:
    media_type = f"image/{picture.format}"
    artifact: Artifact = store.put(event, picture.name, picture.content, media_type, now=system_clock())
    return ImageArtifact(
        **msgspec.structs.asdict(artifact),
        width_px=picture.width_px,
        height_px=picture.height_px,
        format=picture.format,
        quality=picture.quality,
        frames=picture.frames,
    )
