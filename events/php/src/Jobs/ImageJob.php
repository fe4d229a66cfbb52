<?php

declare(strict_types=1);

namespace Errands\Jobs;

use Errands\Data\ImageCrop;
use Errands\Data\ImageFocus;
use Errands\Data\ImageOutput;
use Errands\Data\ImageWatermark;
use Errands\Job;

/** Decode one picture once and make every output of it. */
final class ImageJob extends Job
{
    public const TYPE = 'dev.errands.image.requested.v1';

    /**
     * Bytes to work on: Input::bytes(), Input::url(), Input::key().
     *
     * @param array<string, string> $source
     */
    public function from(array $source): static
    {
        return $this->put('source', $source);
    }

    /**
     * One picture to make. An absent field is the preset's; without a preset it is the default that it describes.
     *
     * The order is: crop, rotate, flip, resize, grayscale, blur, sharpen, padding, watermark, background.
     *
     * @param string $name a file's name in any language, no path
     * @param string|null $preset a set of fields in the function's configuration
     * @param 'contain'|'exact'|'fill'|'fit'|null $mode `fit` (default): whole inside the box; `fill`: covers it,
     *     cropped; `contain`: whole, padded to the box; `exact`: stretched to it. All but `fit` need both sides
     * @param int|float|null $dpr multiplies every length of this output; default 1
     * @param bool|null $enlarge whether the source's pixels may grow; default false
     * @param 'bottom'|'bottom-left'|'bottom-right'|'center'|'left'|'right'|'smart'|'top'|'top-left'|'top-right'|null $gravity
     *     what `fill` keeps, where `contain` puts it; `smart`: the most detailed part
     * @param int|null $offsetXPx from the gravity's side inwards
     * @param int|null $offsetYPx from the gravity's side inwards
     * @param 0|90|180|270|null $rotateDeg clockwise
     * @param 'both'|'horizontal'|'vertical'|null $flip
     * @param int|float|null $blurPx standard deviation
     * @param int|null $sharpenPercent strength of an unsharp mask
     * @param string|null $background a colour as #rrggbb, under transparency and padding; default: none, and white in a
     *     JPEG
     * @param 'auto'|'avif'|'gif'|'jpeg'|'png'|'tiff'|'webp'|null $format default `jpeg`; `auto`: the smallest of
     *     `formats`
     * @param list<'avif'|'gif'|'jpeg'|'png'|'tiff'|'webp'>|null $formats what `auto` may choose; default jpeg, png,
     *     webp and avif
     * @param int|null $quality default 80
     * @param int|null $maxBytes the quality is lowered until the file is no larger
     * @param bool|null $progressive JPEG; default true
     * @param '4:2:0'|'4:2:2'|'4:4:4'|null $subsampling JPEG, AVIF; default 4:2:0
     * @param bool|null $lossless WebP; default false
     * @param int|null $colors PNG, GIF: a palette of at most so many
     * @param int|null $speed AVIF; default 8; slower is smaller
     * @param bool|null $animated GIF, PNG, WebP, AVIF: keep the animation; default true
     * @param list<'copyright'|'exif'|'gps'|'icc'>|null $keep metadata to keep; `exif` is without the place, which is
     *     `gps`
     */
    public function output(
        string $name,
        ?string $preset = null,
        ?int $widthPx = null,
        ?int $heightPx = null,
        ?string $mode = null,
        int|float|null $dpr = null,
        ?bool $enlarge = null,
        ?ImageCrop $crop = null,
        ?string $gravity = null,
        ?int $offsetXPx = null,
        ?int $offsetYPx = null,
        ?ImageFocus $focus = null,
        ?int $rotateDeg = null,
        ?string $flip = null,
        ?bool $grayscale = null,
        int|float|null $blurPx = null,
        ?int $sharpenPercent = null,
        ?string $background = null,
        ?ImageWatermark $watermark = null,
        ?string $format = null,
        ?array $formats = null,
        ?int $quality = null,
        ?int $maxBytes = null,
        ?bool $progressive = null,
        ?string $subsampling = null,
        ?bool $lossless = null,
        ?int $colors = null,
        ?int $speed = null,
        ?bool $animated = null,
        ?array $keep = null,
    ): static {
        return $this->add('outputs', new ImageOutput($name, $preset, $widthPx, $heightPx, $mode, $dpr, $enlarge, $crop,
            $gravity, $offsetXPx, $offsetYPx, $focus, $rotateDeg, $flip, $grayscale, $blurPx, $sharpenPercent,
            $background, $watermark, $format, $formats, $quality, $maxBytes, $progressive, $subsampling, $lossless,
            $colors, $speed, $animated, $keep));
    }

    /** @param int $page of a PDF; default: 1 */
    public function page(int $page): static
    {
        return $this->put('page', $page);
    }
}
