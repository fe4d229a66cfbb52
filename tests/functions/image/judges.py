"""Programs that did not write the files, and read them by code of their own: exiftool, and libvips with what it loads.

Debian's libimage-exiftool-perl and libvips-tools.
"""

import io
import json
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from tests.support.absent import program


def exiftool(content: bytes, *tags: str) -> dict[str, Any]:
    """The tags that it finds in a file, its texts read as UTF-8."""
    names = [f"-{tag}" for tag in tags]
    found = subprocess.run([program("exiftool"), "-json", *names, "-"], input=content, capture_output=True, check=True)
    (values,) = json.loads(found.stdout)
    return {tag: values[tag] for tag in tags if tag in values}


def vips(content: bytes, suffix: str, options: str = "") -> Image.Image:
    """The picture in sRGB, and in 8 bits; of all frames (`[n=-1]`) a strip from the top."""
    with TemporaryDirectory() as folder:
        source, shown = Path(folder, f"a{suffix}"), Path(folder, "shown.png")
        source.write_bytes(content)
        subprocess.run([program("vips"), "copy", f"{source}{options}", shown], check=True, capture_output=True)
        image = Image.open(io.BytesIO(shown.read_bytes()))
        image.load()
        return image
