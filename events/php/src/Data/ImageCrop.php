<?php

declare(strict_types=1);

namespace Errands\Data;

/** A rectangle of the upright source, cut out before anything else. */
final class ImageCrop extends Fields
{
    /**
     * @param int|null $xPx default: 0
     * @param int|null $yPx default: 0
     */
    public function __construct(
        int $widthPx,
        int $heightPx,
        ?int $xPx = null,
        ?int $yPx = null,
    ) {
        parent::__construct([
            'width_px' => $widthPx,
            'height_px' => $heightPx,
            'x_px' => $xPx,
            'y_px' => $yPx,
        ]);
    }
}
