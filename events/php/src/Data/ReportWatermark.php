<?php

declare(strict_types=1);

namespace Errands\Data;

/** A word, or a picture, under the content of every page; `width_percent` is of what the margins leave. */
final class ReportWatermark extends Fields
{
    /**
     * @param string|null $color of the text; default: #808080
     * @param array<string, string>|null $source
     * @param int|float|null $widthPercent default: 60
     * @param int|float|null $opacity default: 0.18
     * @param int|float|null $angleDeg counter-clockwise; default: 45 for a text
     */
    public function __construct(
        ?string $text = null,
        ?string $color = null,
        ?array $source = null,
        int|float|null $widthPercent = null,
        int|float|null $opacity = null,
        int|float|null $angleDeg = null,
    ) {
        parent::__construct([
            'text' => $text,
            'color' => $color,
            'source' => $source,
            'width_percent' => $widthPercent,
            'opacity' => $opacity,
            'angle_deg' => $angleDeg,
        ]);
    }
}
