"""Colours: into sRGB, onto a background."""

import io
from typing import Final

from PIL import Image, ImageCms

WHITE: Final = "#ffffff"
_STRIP_PX: Final = 512
_SPACES: Final = {"L": "GRAY", "RGB": "RGB", "RGBA": "RGB", "CMYK": "CMYK"}


class Colours:
    """What a source's profile makes of its pixels; a profile that is broken or of another colour space is ignored."""

    def __init__(self, profile: bytes | None) -> None:
        self._profile = profile
        self._transforms: dict[str, ImageCms.ImageCmsTransform | None] = {}

    def to_srgb(self, image: Image.Image) -> Image.Image:
        """As L, RGB or RGBA in sRGB."""
        if image.mode == "LA":  # no transform has that mode
            coloured = self.to_srgb(image.getchannel("L")).convert("RGB")
            coloured.putalpha(image.getchannel("A"))
            return coloured
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
    if image.mode in ("L", "RGB", "RGBA"):
        return image
    return image.convert("RGBA" if image.mode == "LA" else "RGB")


def opaque(image: Image.Image, background: str) -> Image.Image:
    """The picture on a background; one without transparency as it is."""
    if image.mode not in ("LA", "RGBA"):
        return image
    result = Image.new("RGB", image.size)
    for top in range(0, image.height, _STRIP_PX):  # a large picture would be there five times over
        strip = image.crop((0, top, image.width, min(top + _STRIP_PX, image.height))).convert("RGBA")
        result.paste(Image.alpha_composite(Image.new("RGBA", strip.size, background), strip).convert("RGB"), (0, top))
    return result
