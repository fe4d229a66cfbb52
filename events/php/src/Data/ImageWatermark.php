<?php

declare(strict_types=1);

namespace Errands\Data;

/** A picture from the store, laid over the output; `scale` is its width as a part of the output's. */
final class ImageWatermark extends Fields
{
    /**
     * @param 'bottom'|'bottom-left'|'bottom-right'|'center'|'left'|'right'|'top'|'top-left'|'top-right'|null $position
     *     default: bottom-right
     * @param int|null $marginPx default: 0
     * @param int|float|null $scale default: 0.2
     * @param int|float|null $opacity default: 1.0
     * @param bool|null $tiled default: false
     */
    public function __construct(
        string $key,
        ?string $position = null,
        ?int $marginPx = null,
        int|float|null $scale = null,
        int|float|null $opacity = null,
        ?bool $tiled = null,
    ) {
        parent::__construct([
            'key' => $key,
            'position' => $position,
            'margin_px' => $marginPx,
            'scale' => $scale,
            'opacity' => $opacity,
            'tiled' => $tiled,
        ]);
    }
}
