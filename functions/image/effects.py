"""What an output does to its pixels after the resize: effects, padding, a watermark."""

from PIL import Image, ImageFilter

from functions.image.geometry import Plan, Size, anchor_of
from functions.image.task import Output, Watermark


def applied(image: Image.Image, output: Output) -> Image.Image:
    """Grayscale, then blur, then sharpen."""
    if output.grayscale:
        grey = image.convert("L")
        if image.mode == "RGBA":
            grey = Image.merge("RGBA", (grey, grey, grey, image.getchannel("A")))
        image = grey
    if output.blur_px:
        image = _filtered(image, ImageFilter.GaussianBlur(output.blur_px * output.dpr))
    if output.sharpen_percent:
        image = _filtered(image, ImageFilter.UnsharpMask(output.dpr, output.sharpen_percent, 0))
    return image


def padded(image: Image.Image, plan: Plan, background: str | None) -> Image.Image:
    """On its canvas, which is transparent where there is no background; as it is when it fills the canvas."""
    if image.size == plan.canvas_px:
        return image
    canvas = Image.new("RGBA", plan.canvas_px, background or "#00000000")
    canvas.alpha_composite(image.convert("RGBA"), plan.at_px)
    return canvas


def watermarked(image: Image.Image, mark: Image.Image, wanted: Watermark, dpr: float) -> Image.Image:
    """The picture with the mark (RGBA) over it: once, or in every place of a grid."""
    mark = _faded(_scaled(mark, wanted.scale, image.size), wanted.opacity)
    margin_px = round(wanted.margin_px * dpr)
    layer = Image.new("RGBA", image.size, "#00000000")
    if wanted.tiled:
        for y in range(margin_px, image.height, mark.height + margin_px):
            for x in range(margin_px, image.width, mark.width + margin_px):
                layer.paste(mark, (x, y))
    else:
        layer.paste(mark, _corner(wanted, mark.size, image.size, margin_px))
    marked = Image.alpha_composite(image.convert("RGBA"), layer)
    return marked if image.mode == "RGBA" else marked.convert("RGB")


def _filtered(image: Image.Image, effect: ImageFilter.Filter) -> Image.Image:
    # premultiplied: the colour of transparent pixels must not spread
    return image.convert("RGBa").filter(effect).convert("RGBA") if image.mode == "RGBA" else image.filter(effect)


def _scaled(mark: Image.Image, scale: float, within: Size) -> Image.Image:
    """As wide as its part of the picture, but never higher than the picture."""
    ratio = min(within[0] * scale / mark.width, within[1] / mark.height)
    size = (max(1, round(mark.width * ratio)), max(1, round(mark.height * ratio)))
    return mark.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _faded(mark: Image.Image, opacity: float) -> Image.Image:
    if opacity < 1.0:
        mark.putalpha(mark.getchannel("A").point(lambda value: value * opacity))
    return mark


def _corner(wanted: Watermark, mark: Size, within: Size, margin_px: int) -> Size:
    anchor = anchor_of(wanted.position)
    free = (within[0] - mark[0] - 2 * margin_px, within[1] - mark[1] - 2 * margin_px)
    x, y = (round(margin_px + free[axis] * anchor[axis]) for axis in (0, 1))
    return x, y
