"""ResourceLimits, presets and hostile files, through the whole function: each job ends in completed or failed."""

import json
import os
import resource
from base64 import b64encode
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from functions.image.task import Output, Pictures, Task
from functions.sandbox.sandbox import LimitExceeded, Rejected, Sandbox
from tests.functions.image.test_image import (
    PHOTO,
    ROOT,
    Client,
    claims,
    client,
    close,
    encoded,
    failure,
    pixel,
    quarters,
    request,
    response,
)

__all__ = ["client"]  # the fixture

PICTURES = Path(os.environ.get("PILLOW_PICTURES") or ROOT / "tests/files/pillow")
HARD = [
    {
        "name": "a.jpg",
        "width_px": 100,
        "height_px": 100,
        "mode": "fill",
        "gravity": "smart",
        "keep": ["exif", "gps", "icc"],
    },
    {"name": "b.webp", "format": "webp", "width_px": 64, "keep": ["exif", "icc"]},
    {"name": "c.gif", "format": "gif", "width_px": 50, "colors": 16},
    {"name": "d", "format": "auto", "mode": "contain", "width_px": 80, "height_px": 60, "max_bytes": 100_000},
]


def inline(content: bytes) -> dict[str, Any]:
    return {"data_base64": b64encode(content).decode()}


def failed(function: Any, **data: Any) -> dict[str, Any]:
    """The problem of the failed event."""
    headers, problem = response(function, request(**data))
    assert headers["ce-outcome"] == "failed", problem
    return {**problem, "type": problem["type"].removeprefix("https://errands.dev/problems/")}


# --- hostile files


@pytest.mark.slow
def test_pillows_own_test_pictures_end_as_completed_or_failed(client: Client, tmp_path: Path) -> None:
    """Its bombs, truncated and malformed files; a crash of the function, a hang or a lost child would not be a 200."""
    (tmp_path / "store/uploads").mkdir(parents=True)
    function, ends = client(), Counter[str]()
    for number, file in enumerate(each for each in sorted(PICTURES.rglob("*")) if each.is_file()):
        (tmp_path / "store/uploads/picture").write_bytes(file.read_bytes())
        job = {**request({"key": "uploads/picture"}, outputs=HARD), "id": f"{number}"}
        headers, data = response(function, job)
        ends[headers["ce-outcome"] + " " + data.get("type", "").rpartition("/")[2]] += 1

    assert set(ends) <= {"completed ", "failed source-refused", "failed limit-exceeded"}
    assert ends["completed "] > 90
    assert ends["failed source-refused"] > 25


@pytest.mark.slow
def test_pillows_own_test_pictures_stay_within_the_memory_limit() -> None:
    """The largest of all processes: what the child may map beyond its libraries, and the libraries.

    From a process of its own, since the largest child of this one may be another test's.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        assert alone.submit(largest_bytes).result() < (1 << 30) + (100 << 20)


def largest_bytes() -> int:
    """Of the processes that have worked on Pillow's worst pictures."""
    outputs = (Output(name="a", width_px=100), Output(name="b", format="webp"))
    with Sandbox(preload=("functions.image.picture",)) as sandbox:
        for file in sorted(PICTURES.glob("*bomb*")) + sorted(PICTURES.glob("oom*")) + sorted(PICTURES.glob("*dos*")):
            task = Task(outputs=outputs, pixels_limit=50_000_000, frames_limit=100)
            try:
                sandbox.run("functions.image.picture:render", task, file.read_bytes(), result=Pictures)
            except (Rejected, LimitExceeded):
                continue
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


# --- limits


@pytest.mark.parametrize(
    ("setting", "kind", "detail"),
    [
        ({"SOURCE_LIMIT_BYTES": "999"}, "source-refused", "the source must be at most 999 bytes, got "),
        (
            {"PIXELS_LIMIT": "786431"},
            "source-refused",
            "the source must have 1 to 786431 pixels, got 768 x 1024 pixels",
        ),
        (
            {"SIDE_LIMIT_PX": "1000"},
            "output-refused",
            "a.jpg: a side of an output must be at most 1000 px, got 1024 x 768",
        ),
        ({"MEMORY_LIMIT_BYTES": "1000000"}, "limit-exceeded", "making the pictures exceeded 1000000 bytes of memory"),
        ({"RESULT_LIMIT_BYTES": "5000"}, "limit-exceeded", "making the pictures exceeded 5000 bytes of output with "),
        (
            {"SOURCE_FORMATS": "png,webp"},
            "source-refused",
            "the source must be PNG or WebP with a sound header, got a file",
        ),
    ],
)
def test_each_limit_can_be_set_and_its_refusal_names_it_with_the_measured_value(
    client: Client, setting: dict[str, str], kind: str, detail: str
) -> None:
    problem = failed(client(**setting), source=inline(PHOTO), outputs=[{"name": "a.jpg"}])

    assert problem["type"] == kind
    assert problem["detail"].startswith(detail)


def test_the_limit_of_frames_can_be_set(client: Client) -> None:
    drawn = [Image.new("RGB", (8, 8), (index, 0, 0)) for index in range(12)]
    content = encoded(drawn[0], "GIF", save_all=True, append_images=drawn[1:])

    problem = failed(client(FRAMES_LIMIT="11"), source=inline(content))

    assert problem["detail"] == "the source must have at most 11 frames, got 12"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "detail"),
    [({"CPU_LIMIT_S": "1"}, "exceeded 1 s of processor time"), ({"TIMEOUT_S": "0.5"}, "exceeded 0.5 s")],
)
def test_the_limits_of_time_can_be_set(client: Client, setting: dict[str, str], detail: str) -> None:
    slow = {"name": "a.avif", "format": "avif", "speed": 0, "width_px": 3000, "enlarge": True}

    problem = failed(client(**setting), source=inline(PHOTO), outputs=[slow])

    assert (problem["type"], problem["detail"]) == ("limit-exceeded", f"making the pictures {detail}")


@pytest.mark.slow
def test_after_a_killed_child_the_function_goes_on(client: Client) -> None:
    function = client(TIMEOUT_S="2")
    slow = {"name": "a.avif", "format": "avif", "speed": 0, "width_px": 4000, "enlarge": True}

    failed(function, source=inline(PHOTO), outputs=[slow])
    headers, _ = response(function, {**request(), "id": "another"})

    assert headers["ce-outcome"] == "completed"


def test_the_format_is_told_by_the_first_bytes_never_by_a_name(client: Client, tmp_path: Path) -> None:
    (tmp_path / "store/uploads").mkdir(parents=True)
    (tmp_path / "store/uploads/logo.jpg").write_bytes(encoded(quarters(), "PNG"))
    (tmp_path / "store/uploads/photo.jpg").write_bytes(b"8BPS\0\x01\0\0 nothing to see")

    _, data = response(client(), request({"key": "uploads/logo.jpg"}))
    kind, detail = failure(client(), {**request({"key": "uploads/photo.jpg"}), "id": "another"})

    assert (data["source"]["format"], kind) == ("png", "source-refused")
    assert detail.endswith("got a file of 38 42 50 53 00 01 00 00... (Photoshop PSD)")


def test_an_unknown_source_format_stops_the_start(client: Client) -> None:
    with pytest.raises(SystemExit, match=r"SOURCE_FORMATS must be of jpeg, .*, got psd"):
        client(SOURCE_FORMATS="jpeg, psd")


def test_every_refused_output_is_named_by_its_field(client: Client) -> None:
    outputs = [
        {"name": "a.jpg", "crop": {"x_px": 60, "width_px": 9, "height_px": 9}},
        {"name": "b.jpg"},
        {"name": "c.jpg", "width_px": 20_000, "enlarge": True},
    ]

    problem = failed(client(), outputs=outputs)

    assert problem["type"] == "output-refused"
    assert [each["pointer"] for each in problem["errors"]] == ["#/outputs/0/crop", "#/outputs/2/width_px"]
    assert problem["detail"].startswith(
        "a.jpg: the crop must lie inside the source's 64 x 48 px, got 9 x 9 px at 60, 0; "
    )


def test_a_size_that_cannot_be_reached_fails_the_job_with_the_best_one(client: Client) -> None:
    problem = failed(client(), outputs=[{"name": "a.webp", "format": "webp", "max_bytes": 20}])

    (error,) = problem["errors"]
    assert error["pointer"] == "#/outputs/0/max_bytes"
    assert error["detail"].startswith("the file must have at most 20 bytes, got ")


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"mode": "contain", "width_px": 3}, "mode contain expects both width_px and height_px"),
        ({"gravity": "top", "width_px": 3}, "gravity expects mode fill or contain, got fit"),
        ({"focus": {"x": 0.5, "y": 0.5}}, "focus expects mode fill, got fit"),
        (
            {"mode": "fill", "width_px": 3, "height_px": 3, "focus": {"x": 0, "y": 0}, "gravity": "top"},
            "focus cannot be combined with gravity",
        ),
        (
            {"mode": "contain", "width_px": 3, "height_px": 3, "gravity": "smart"},
            "gravity smart expects mode fill, got contain",
        ),
        ({"lossless": True}, "lossless expects format webp, got jpeg"),
        ({"formats": ["jpeg"]}, "formats expects format auto, got jpeg"),
        ({"background": "red"}, "#/outputs/0/background: "),
        ({"dpr": 0}, "#/outputs/0/dpr: "),
        ({"focus": {"x": 2, "y": 0}}, "#/outputs/0/focus/x: "),
        ({"rotate_deg": 45}, "#/outputs/0/rotate_deg: "),
    ],
)
def test_what_does_not_go_together_is_refused_and_named(client: Client, fields: dict[str, Any], detail: str) -> None:
    problem = failed(client(), outputs=[{"name": "a", **fields}])

    assert problem["type"] == "invalid-data"
    assert detail in problem["detail"]


# --- presets and watermarks

PRESETS = json.dumps(
    {
        "thumbnail": {"width_px": 20, "height_px": 20, "mode": "fill"},
        "social-card": {"width_px": 60, "height_px": 30, "mode": "contain", "background": "#102030", "quality": 50},
    }
)


def test_a_preset_gives_its_fields_and_the_jobs_own_count_over_them(client: Client) -> None:
    outputs = [
        {"name": "a.jpg", "preset": "thumbnail"},
        {"name": "b.webp", "preset": "social-card", "format": "webp", "quality": 80},
    ]

    _, data = response(client(PRESETS=PRESETS), request(outputs=outputs))

    assert [(each["width_px"], each["height_px"], each["format"], each["quality"]) for each in data["artifacts"]] == [
        (20, 20, "jpeg", 80),
        (60, 30, "webp", 80),
    ]


@pytest.mark.parametrize(
    ("settings", "fields", "pointer", "detail"),
    [
        ({}, {"preset": "poster"}, "preset", "expected one of: social-card, thumbnail, got 'poster'"),
        ({"PRESETS_ONLY": "true"}, {}, "preset", "is required; expected one of: social-card, thumbnail"),
        ({"PRESETS_ONLY": "true"}, {"preset": "thumbnail", "quality": 1}, "quality", "presets alone are allowed: "),
        ({}, {"preset": "thumbnail", "lossless": True}, "", "lossless expects format webp, got jpeg"),
    ],
)
def test_a_preset_that_cannot_be_used_so_is_refused_with_the_field(
    client: Client, settings: dict[str, str], fields: dict[str, Any], pointer: str, detail: str
) -> None:
    problem = failed(client(PRESETS=PRESETS, **settings), outputs=[{"name": "a.jpg", **fields}])

    assert problem["errors"][0]["pointer"] == f"#/outputs/0/{pointer}".rstrip("/")
    assert problem["errors"][0]["detail"].startswith(detail)


def test_presets_alone_are_enough(client: Client) -> None:
    outputs = [{"name": "a.jpg", "preset": "thumbnail"}]

    headers, _ = response(client(PRESETS=PRESETS, PRESETS_ONLY="true"), request(outputs=outputs))

    assert headers["ce-outcome"] == "completed"


@pytest.mark.parametrize(
    ("presets", "message"),
    [
        ("{", "PRESETS must be a JSON object of objects"),
        ('{"a": {"widht_px": 1}}', "PRESETS#/a/widht_px: is unknown"),
        ('{"a": {"mode": "fill"}}', "PRESETS#/a: mode fill expects both"),
        ('{"a": {"name": "b"}}', "PRESETS#/a: a preset has no name"),
    ],
)
def test_a_wrong_preset_stops_the_start_and_is_named(client: Client, presets: str, message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        client(PRESETS=presets)


def test_a_watermark_comes_from_the_store(client: Client, tmp_path: Path) -> None:
    (tmp_path / "store/uploads").mkdir(parents=True)
    (tmp_path / "store/uploads/logo.png").write_bytes(encoded(Image.new("RGB", (10, 10), (255, 0, 255)), "PNG"))
    mark = {"key": "uploads/logo.png", "position": "top-left", "scale": 0.25}
    outputs = [{"name": "a.png", "format": "png", "watermark": mark}]

    _, data = response(client(), request(outputs=outputs))

    picture = Image.open(tmp_path / "store" / data["artifacts"][0]["key"])
    assert (pixel(picture, 8, 8), close(pixel(picture, 18, 18), (255, 0, 255))) == ((255, 0, 255), False)


@pytest.mark.parametrize("key", ["uploads/gone.png", "../secret.png", "ledger/x"])
def test_a_watermark_that_is_not_there_fails_the_job(client: Client, key: str) -> None:
    problem = failed(client(), outputs=[{"name": "a.png", "format": "png", "watermark": {"key": key}}])

    assert problem["type"] == "watermark-refused"
    assert key in problem["detail"]


def test_a_bomb_as_a_watermark_refuses_its_output(client: Client, tmp_path: Path) -> None:
    (tmp_path / "store/uploads").mkdir(parents=True)
    (tmp_path / "store/uploads/bomb.png").write_bytes(claims(50_000, 50_000))

    problem = failed(client(), outputs=[{"name": "a.png", "format": "png", "watermark": {"key": "uploads/bomb.png"}}])

    assert problem["errors"][0]["pointer"] == "#/outputs/0/watermark"
    assert "50000 x 50000 pixels" in problem["detail"]


def test_the_completed_event_tells_what_each_output_and_the_source_became(client: Client) -> None:
    outputs = [{"name": "a", "format": "auto", "width_px": 40}]

    _, data = response(client(), request(outputs=outputs))

    (artifact,) = data["artifacts"]
    assert artifact["media_type"] == f"image/{artifact['format']}"
    assert data["source"].keys() >= {"format", "width_px", "height_px", "size_bytes", "dominant_color", "blurhash"}
    assert len(data["source"]["blurhash"]) == 28
    assert len(bytes.fromhex(data["source"]["dominant_color"].removeprefix("#"))) == 3
