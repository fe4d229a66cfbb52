"""HEIC, which phones write: read by libheif, with pillow-heif, in one thread and without what is never shown."""

from pillow_heif import register_heif_opener


def register() -> None:
    """Have Pillow read HEIC from now on: only the main picture, with no thumbnail in its place."""
    register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
