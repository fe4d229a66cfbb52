"""Colours: into sRGB, onto a background."""

import io
from typing import Final

from PIL import Image, ImageCms

WHITE: Final = "#ffffff"
_SPACES: Final = {"L": "GRAY", "RGB": "RGB", "RGBA": "RGB", "CMYK": "CMYK"}


class Colours:
    """What a source's profile makes of its pixels; a profile that is broken or of another colour space is ignored."""

    def __init__(self, profile: bytes | None) -> None:
        self._profile = profile
        self._transforms: dict[str, ImageCms.ImageCmsTransform | None] = {}

    def to_srgb(self, image: Image.Image) -> Image.Image:
        """As L, RGB or RGBA in sRGB."""
        transform = self._transform(image.mode)
        return transform.apply(image) if transform else plain(image)

    def fits(self, image: Image.Image) -> bool:
        """Whether the profile is sound and says what the pixels mean, so that it can be kept."""
        return image.mode != "CMYK" and self._transform(image.mode) is not None

    def _transform(self, mode: str) -> ImageCms.ImageCmsTransform | None:
        if mode not in self._transforms:
            self._transforms[mode] = self._build(mode)
        return self._transforms[mode]

    def _build(self, mode: str) -> ImageCms.ImageCmsTransform | None:
        if not self._profile:
            return None
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(self._profile))
            if profile.profile.xcolor_space.strip() != _SPACES.get(mode):
                return None
            return ImageCms.buildTransform(
                profile, ImageCms.createProfile("sRGB"), mode, "RGBA" if mode == "RGBA" else "RGB"
            )
        except (ImageCms.PyCMSError, OSError, ValueError):
            return None


def plain(image: Image.Image) -> Image.Image:
    """As L, RGB or RGBA."""
    return image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB")


def opaque(image: Image.Image, background: str) -> Image.Image:
    """The picture on a background; one without transparency as it is."""
    if image.mode != "RGBA":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, background), image).convert("RGB")
