"""All modes, crops and effects on one sheet, made by the function's own code: python -m tests.support.contact_sheet
OUT.
"""

import io
import sys
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from functions.image.picture import render
from functions.image.task import Crop, Focus, Output, Task, Watermark

PHOTO = Path(__file__).parents[1] / "files/raccoon.jpg"
BOX: dict[str, Any] = {"width_px": 200, "height_px": 200}
TALL: dict[str, Any] = {"mode": "fill", "width_px": 90, "height_px": 200}
CELL_PX = (220, 236)
OUTPUTS: dict[str, dict[str, Any]] = {
    "fit": BOX,
    "fill": {**BOX, "mode": "fill"},
    "contain": {**BOX, "mode": "contain", "background": "#335577"},
    "contain, top, transparent": {**BOX, "mode": "contain", "gravity": "top", "format": "png"},
    "exact": {**BOX, "mode": "exact"},
    "crop 400 x 300 at 500, 100": {**BOX, "crop": Crop(x_px=500, y_px=100, width_px=400, height_px=300)},
    "fill, left": {**TALL, "gravity": "left"},
    "fill, right": {**TALL, "gravity": "right"},
    "fill, right, offset 40": {**TALL, "gravity": "right", "offset_x_px": 40},
    "fill, focus 0.7, 0.4": {**TALL, "focus": Focus(x=0.7, y=0.4)},
    "fill, smart": {**TALL, "gravity": "smart"},
    "rotate 90": {**BOX, "rotate_deg": 90},
    "flip horizontal": {**BOX, "flip": "horizontal"},
    "grayscale": {**BOX, "grayscale": True},
    "blur 4": {**BOX, "blur_px": 4},
    "sharpen 200": {**BOX, "sharpen_percent": 200},
    "watermark": {**BOX, "watermark": Watermark(key="logo", margin_px=8, scale=0.3)},
    "watermark, tiled, 0.4": {**BOX, "watermark": Watermark(key="logo", tiled=True, margin_px=16, opacity=0.4)},
    "quality 5": {**BOX, "quality": 5},
    "png, 8 colours": {**BOX, "format": "png", "colors": 8},
    "gif": {**BOX, "format": "gif"},
    "webp, at most 3000 bytes": {**BOX, "format": "webp", "max_bytes": 3_000},
    "avif, quality 30": {**BOX, "format": "avif", "quality": 30},
    "auto": {**BOX, "format": "auto"},
}


def main() -> None:
    """Six to a row, each with its name and what it became."""
    outputs = tuple(Output(name=name, **fields) for name, fields in OUTPUTS.items())
    task = Task(
        outputs=outputs,
        pixels_limit=50_000_000,
        frames_limit=100,
        watermarks={"logo": logo()},
    )
    result = render(task, io.BytesIO(PHOTO.read_bytes()))
    rows = -(-len(outputs) // 6)
    sheet = Image.new("RGB", (6 * CELL_PX[0], rows * CELL_PX[1]), "#dddddd")
    draw = ImageDraw.Draw(sheet)
    for index, picture in enumerate(result.made):
        x, y = index % 6 * CELL_PX[0] + 10, index // 6 * CELL_PX[1] + 8
        image = Image.open(io.BytesIO(picture.content)).convert("RGBA")
        sheet.paste(image, (x, y), image)
        told = f"{picture.format} {picture.width_px} x {picture.height_px}, {len(picture.content)} bytes"
        draw.text((x, y + 200), f"{picture.name}\n{told}", "black")
    sheet.save(sys.argv[1])


def logo() -> bytes:
    """White letters on nothing."""
    mark = Image.new("RGBA", (200, 80), (0, 0, 0, 0))
    draw = ImageDraw.Draw(mark)
    draw.rounded_rectangle((0, 0, 199, 79), 20, (220, 30, 60, 255))
    draw.text((24, 18), "ERRANDS", "white", font_size=36)
    content = io.BytesIO()
    mark.save(content, "PNG")
    return content.getvalue()


if __name__ == "__main__":
    main()
